"""Programs that a signal ends: at once, in words, and with nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import jpeg
from tests.integration.process import poll
from tests.integration.server import Server

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def start(module: str, folder: Path, *flags: str) -> subprocess.Popen[str]:
    (folder / "tmp").mkdir()
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-m", f"mmr.cli.{module}", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root, "TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", SIGNALS)
def test_the_check_of_an_installation_ends(number: int, tmp_path: Path) -> None:
    """Its threads must not keep it."""
    server = Server(tmp_path)
    program = start("check", tmp_path, "-config", str(server.config_path))
    assert program.stdout is not None
    program.stdout.readline()
    program.send_signal(number)
    try:
        _, told = program.communicate(timeout=30)
    finally:
        program.kill()
    assert program.returncode in (0, 1, 2)
    assert "Traceback" not in told


@pytest.mark.parametrize("number", SIGNALS)
def test_a_thumbnail_is_left_undrawn(number: int, tmp_path: Path) -> None:
    (tmp_path / "in.jpg").write_bytes(jpeg(6000, 5000))
    program = start("thumbnailer", tmp_path, "-i", "in.jpg", "-o", "out.jpg", "-a")
    temporary = tmp_path / "tmp"
    poll(lambda: any(temporary.glob("mmr-thumbnailer-*")), "it has begun", 30)
    program.send_signal(number)
    try:
        _, told = program.communicate(timeout=30)
    finally:
        program.kill()
    assert (program.returncode, told.splitlines()[-1]) == (1, "interrupted")
    assert "Traceback" not in told
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "out.jpg").exists()
