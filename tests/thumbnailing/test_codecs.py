"""Which formats are here is known without loading a decoder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mmr.config.generate import generate_config
from mmr.tap import Options
from mmr.thumbnailing import codecs, programs
from mmr.thumbnailing.codecs import OPTIONAL, Codec, describe, sentence
from mmr.thumbnailing.renderers import RENDERERS


def test_what_is_said_to_be_here_can_be_drawn() -> None:
    for content_type, is_here in describe().items():
        if content_type in OPTIONAL:
            assert is_here == (content_type in RENDERERS)


def test_a_missing_decoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Codec("no_such_module", ("no_such_module", "Renderer"))
    monkeypatch.setattr(codecs, "OPTIONAL", {"image/jxl": missing})
    monkeypatch.setattr(programs.shutil, "which", lambda name: None)
    programs.find_programs.cache_clear()
    try:
        assert not any(describe().values())
        assert sentence().startswith("none; not here: image/jxl")
    finally:
        programs.find_programs.cache_clear()


def test_asking_loads_no_decoder() -> None:
    """R33."""
    code = (
        "import sys; from mmr.thumbnailing import codecs; codecs.describe();"
        "print([m for m in ('pillow_heif', 'pyjpegxl', 'PIL._avif')"
        " if m in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True
    )

    assert printed.stdout.strip() == b"[]"


def test_a_worker_without_a_package_does_without_its_format() -> None:
    code = (
        "import sys; sys.modules['pillow_heif'] = None;"
        "from mmr.thumbnailing.renderers import RENDERERS;"
        "print('image/heic' in RENDERERS, 'image/avif' in RENDERERS)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True
    )

    assert printed.stdout.strip() == b"False True"


def test_the_check_of_the_configuration_lists_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mmr.yaml"
    path.write_text(generate_config("example.org"))
    path.chmod(0o600)
    with pytest.raises(SystemExit):
        Options().parseOptions(["--check-config", "-c", str(path)])

    assert f"Optional formats for thumbnails: {sentence()}" in capsys.readouterr().out
