"""Every program: where it is, what it is called, and how it takes MMR's flags."""

from __future__ import annotations

import configparser
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.fake_synapse import FakeSynapse

ROOT = Path(__file__).parents[2]
# mmr-tools.md, section by section.
_DATABASE = "dbHost dbPort dbUsername dbPassword dbName"
_LIVE = f"{_DATABASE} serverName baseUrl config migrations workers"
_OFFLINE = (
    f"{_DATABASE} serverName templates destination partSize mediaDirectory"
    " skipMissing debug prettyLog"
)
_OF_MMR = {
    "gdpr_export": "config migrations templates entity destination",
    "gdpr_import": "config migrations directory verify onlyEntity",
    "import_synapse": _LIVE,
    "import_dendrite": _LIVE,
    "export_synapse_for_import": _OFFLINE,
    "export_dendrite_for_import": _OFFLINE,
    "import_to_synapse": (
        f"{_DATABASE} serverName mediaDirectory directory generateThumbnails debug"
        " prettyLog"
    ),
    "s3_consistency_check": "config migrations datastoreId outFile",
    "thumbnailer": "config i o w h m a f",
    "generate_signing_key": "input format output",
    "combine_signing_keys": "format output",
}
_OURS = {
    "adopt_synapse": "config homeserverConfig transferTo",
    "fsck": "config datastoreId verify refetch deleteUnreferenced",
    "check": "config",
}
_FLAGS = _OF_MMR | _OURS
# It tries each datastore, and leaves it as it was.
_WRITES_NOTHING = frozenset({"check"})
# mmr is the server; mmr-admin speaks as other programs do, see test_admin.
_OTHERS = {"mmr", "mmr-admin"}


def name_of(module: str) -> str:
    return f"mmr-{module.replace('_', '-')}"


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"mmr.cli.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_each_is_installed_under_its_name() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.entry_points"]["console_scripts"].split("\n")
    installed = dict(line.split(" = ") for line in lines if line)
    wanted = {name_of(module): f"mmr.cli.{module}:main" for module in _FLAGS}
    assert {name: installed[name] for name in installed.keys() - _OTHERS} == wanted


@pytest.mark.parametrize("module", [*_FLAGS, "admin"])
def test_each_has_a_thin_script(module: str) -> None:
    script = ROOT / "scripts" / module.replace("_", "-")
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert f'exec "$checkout/.venv/bin/python" -m mmr.cli.{module} "$@"' in text
    assert len(text.splitlines()) == 6


@pytest.mark.parametrize("module", _FLAGS)
def test_its_help_has_examples_exit_statuses_and_all_flags(module: str) -> None:
    done = run(module, "-help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {name_of(module)} ")
    assert f"examples:\n  {name_of(module)} " in done.stdout
    assert "\nexit status: 0 " in done.stdout
    shown = set(re.findall(r"^  -(\w+)", done.stdout, re.MULTILINE))
    assert set(_FLAGS[module].split()) <= shown
    assert "dryRun" in shown or module in _WRITES_NOTHING


def test_help_has_a_short_name_where_that_is_no_flag() -> None:
    assert run("fsck", "-h").stdout == run("fsck", "-help").stdout
    # The height.
    done = run("thumbnailer", "-h")
    assert (done.returncode, "-h: expected one argument" in done.stderr) == (2, True)


def test_a_terminal_sees_rate_and_time_left(tmp_path: Path) -> None:
    """Of a program as it is, on a terminal of the test's own."""
    synapse = FakeSynapse(tmp_path / "synapse", "one.test")
    synapse.add_many(6000)
    module = "mmr.cli.export_synapse_for_import"
    flags = ["--homeserver-config", str(synapse.config), "-destination", "out"]
    ours, its = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", module, *flags],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=its,
    )
    os.close(its)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:
        # The terminal has ended with the program.
        pass
    finally:
        os.close(ours)
        program.kill()
    assert program.wait() == 0, shown
    under_way = (
        rb"\r\[#+ *\] media: \d+ of about 6000 \(\d+%\), \S+ a second, \d+ s left"
    )
    assert re.search(under_way, shown), shown
    assert b"\r[" + b"#" * 30 + b"] media: 6000 of about 6000 (100%)" in shown
