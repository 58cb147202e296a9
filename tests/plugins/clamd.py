"""A private ``clamd`` that knows one signature of the tests' own."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

BAD = b"mmr's tests call this a virus"
STREAM_MAX_BYTES = 4 * 1024 * 1024
_START_SECONDS = 60


class ClamdServer:
    """The daemon, with its socket and its signatures in a folder of its own."""

    def __init__(self) -> None:
        program = _find_program()
        self.folder = Path(tempfile.mkdtemp(prefix="mmr-clamd-", dir="/tmp"))
        atexit.register(self.remove)
        self.socket = self.folder / "socket"
        signatures = self.folder / "signatures"
        signatures.mkdir()
        # An extended signature: name, any type of file, anywhere in it, the bytes.
        (signatures / "local.ndb").write_text(f"Mmr.Tests:0:*:{BAD.hex()}\n")
        config = self.folder / "clamd.conf"
        lines = {
            "LocalSocket": self.socket,
            "DatabaseDirectory": signatures,
            "TemporaryDirectory": self.folder,
            "Foreground": "yes",
            "StreamMaxLength": STREAM_MAX_BYTES,
        }
        config.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        self._log = (self.folder / "log").open("w+b")
        self._process = subprocess.Popen(
            [program, f"--config-file={config}"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait()

    def remove(self) -> None:
        """End it and delete its folder."""
        self._process.kill()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(self.socket))
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self._log.seek(0)
                    pytest.fail(f"clamd did not start: {self._log.read()!r}")
                time.sleep(0.05)


def _find_program() -> str:
    if found := shutil.which("clamd", path=f"{os.environ['PATH']}:/usr/sbin"):
        return found
    if os.environ.get("MMR_TEST_WITHOUT_CLAMAV") == "1":
        pytest.skip("ClamAV is not installed (MMR_TEST_WITHOUT_CLAMAV=1)")
    pytest.fail(
        "ClamAV is not installed: no `clamd` in PATH. Install the package "
        "clamav-daemon, or set MMR_TEST_WITHOUT_CLAMAV=1 to leave these tests out."
    )
