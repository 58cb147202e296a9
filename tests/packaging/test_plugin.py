"""``twistd mmr`` is found, wherever the package comes from (style: one statement)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from zope.interface.verify import verifyObject

import mmr.tap

ROOT = Path(__file__).resolve().parents[2]


def test_the_plugin_is_found_and_takes_its_options_from_tap() -> None:
    makers = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "mmr"]
    assert len(makers) == 1
    verifyObject(IServiceMaker, makers[0])
    assert makers[0].options is mmr.tap.Options


def test_our_plugin_folders_are_no_packages() -> None:
    """With an ``__init__.py`` Twisted skips the folder, or ours hides Twisted."""
    assert not (ROOT / "twisted" / "__init__.py").exists()
    assert not (ROOT / "twisted" / "plugins" / "__init__.py").exists()


def test_the_plugin_file_imports_nothing_of_ours() -> None:
    """An import error there would show in every use of twistd, ours or not."""
    plugin = ROOT / "twisted" / "plugins" / "mmr_plugin.py"
    code = (
        "import runpy, sys; "
        f"runpy.run_path({str(plugin)!r}); "
        "sys.exit(any(name.partition('.')[0] == 'mmr' for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
