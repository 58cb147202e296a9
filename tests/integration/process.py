"""Child processes on loopback. Imports the standard library alone."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

STARTUP_SECONDS = 60.0
STOP_SECONDS = 40.0


class ProcessFailed(Exception):
    """A child ended, or didn't get ready; the text holds the end of its log."""


def free_port() -> int:
    """A TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def poll(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until the condition holds.

    Raises:
        TimeoutError: when it doesn't within the seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


def answers(port: int, path: str) -> bool:
    """Whether something answers 200 to a GET on loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def listens(port: int) -> bool:
    """Whether something accepts connections on loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Child:
    """A program that runs until it is stopped, with its output in a file.

    Args:
        arguments: Program and arguments.
        log: Where stdout and stderr go; appended to.
        environment: The whole environment; None inherits ours.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._arguments = list(arguments)
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running child."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the program. It is not ready yet."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if self._environment is None else dict(self._environment),
            )

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until the program is ready.

        Raises:
            ProcessFailed: when it ends before, or needs longer than a minute.
        """
        process = self._process
        assert process is not None

        def done() -> bool:
            return process.poll() is not None or ready()

        try:
            poll(done, "not ready", STARTUP_SECONDS)
        except TimeoutError as error:
            self.kill()
            raise ProcessFailed(f"{self}: {error}\n{self.log_text()}") from None
        if process.poll() is not None:
            raise ProcessFailed(
                f"{self}: exit status {process.returncode}\n{self.log_text()}"
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the running child."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the end and return the exit status (negative: by that signal)."""
        assert self._process is not None
        status = self._process.wait(seconds)
        self._process = None
        return status

    def stop(self) -> int | None:
        """Stop with SIGTERM. Stopping what doesn't run does nothing."""
        if self._process is None:
            return None
        self._process.terminate()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProcessFailed(f"{self}: ignored SIGTERM\n{self.log_text()}") from None

    def kill(self) -> None:
        """Kill with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    def log_text(self, characters: int = 8000) -> str:
        """The end of what the program printed."""
        if not self._log.exists():
            return ""
        return self._log.read_text(errors="replace")[-characters:]

    def __str__(self) -> str:
        return Path(self._arguments[0]).name
