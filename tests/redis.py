"""A private ``redis-server`` on a loopback port, for the tests of one process."""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

_START_SECONDS = 30
_PR_SET_PDEATHSIG = 1


class RedisServer:
    """A server without persistence.

    Args:
        options: More lines of its configuration, such as ``requirepass x``.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._program = _find_program()
        self._options = options
        self.folder = Path(tempfile.mkdtemp(prefix="mmr-redis-", dir="/tmp"))
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)

    @property
    def address(self) -> str:
        """For ``redis.shards[].addr``."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it listens."""
        lines = [f"port {self.port}", "bind 127.0.0.1", "save ''", *self._options]
        self._process = subprocess.Popen(
            [self._program, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            preexec_fn=_die_with_parent,
        )
        assert self._process.stdin is not None
        self._process.stdin.write("\n".join(lines).encode())
        self._process.stdin.close()
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash would; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Keep its connections open, and say nothing on them."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """End it and delete its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *words: str | bytes) -> bytes:
        """Run one command, past the code under test; gives the raw reply."""
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        sent = b"*%d\r\n" % len(parts) + b"".join(
            b"$%d\r\n%s\r\n" % (len(part), part) for part in parts
        )
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(sent)
            return connection.recv(1 << 20)


@functools.lru_cache(maxsize=1)
def shared_redis() -> RedisServer:
    """A server for the tests that don't hurt it. Flush it before use."""
    server = RedisServer()
    server.start()
    return server


def _find_program() -> str:
    if found := shutil.which("redis-server"):
        return found
    if os.environ.get("MMR_TEST_WITHOUT_REDIS") == "1":
        pytest.skip("Redis is not installed (MMR_TEST_WITHOUT_REDIS=1)")
    pytest.fail(
        "Redis is not installed: no `redis-server` in PATH. Install the package "
        "redis-server, or set MMR_TEST_WITHOUT_REDIS=1 to leave these tests out."
    )


def _die_with_parent() -> None:
    """Linux: when the test process is killed, the kernel ends the server too."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
