"""The server's end of a worker process. Everything here blocks: for pool threads."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

import mmr
from mmr.errors import unavailable
from mmr.util.confined.channel import Channel, ProtocolError
from mmr.util.confined.limits import WorkerLimits

logger = logging.getLogger(__name__)

T = TypeVar("T")

_STDERR_BYTES = 2000


class WorkerProcess:
    """One running worker.

    Args:
        command: The program; the limits are appended as an argument.
        limits: What it may use.
        temp_dir: Its empty working directory is made there.
        arguments: For the program.

    Raises:
        OSError: when it can't be started.
        ProtocolError: when it doesn't come up.
    """

    def __init__(
        self,
        command: Sequence[str],
        limits: WorkerLimits,
        temp_dir: Path,
        arguments: Sequence[str] = (),
    ) -> None:
        self._errors = tempfile.TemporaryFile(dir=temp_dir)
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self.jobs = 0
        arguments = [*command, json.dumps(attrs.asdict(limits)), *arguments]
        self._folder = tempfile.mkdtemp(prefix="mmr-worker-", dir=temp_dir)
        try:
            with theirs:
                self._process = self._start(arguments, theirs)
        except OSError:
            self._remove_folder()
            raise
        self.channel.limit(limits.wall_seconds)
        try:
            self.confinement = self._greeting()
        except (ProtocolError, OSError):
            self.close()
            raise

    def _start(
        self, arguments: Sequence[str], theirs: socket.socket
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            arguments,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            cwd=self._folder,
            env=_environment(),
            start_new_session=True,
        )

    def _greeting(self) -> list[str]:
        received = self.channel.receive()
        if received is None:
            raise ProtocolError(f"the worker did not start: {self.last_words()}")
        return [str(part) for part in received[0]["confinement"]]

    @property
    def pid(self) -> int:
        """Its number, and that of its group."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs. One that ended between two jobs is nobody's fault."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """The end of what it wrote to its standard error, safe for the log."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _STDERR_BYTES))
        return repr(self._errors.read().decode(errors="replace"))

    def kill(self) -> None:
        """Kill it and its children. Any thread may call this while another waits."""
        # Until it is reaped its number can't become somebody else's.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill it, reap it, and clear up behind it."""
        self.kill()
        self._process.wait()
        self.channel.close()
        self._errors.close()
        self._remove_folder()

    def _remove_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    """Nothing of ours but the way to our code (R35)."""
    assert mmr.__file__ is not None
    code = str(Path(mmr.__file__).resolve().parent.parent)
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": code,
        # Else glibc gives the memory of each picture back and faults it in again for
        # the next one: a sixth of a render's CPU.
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
        # And each thread of a library reserves 64 MB, of the little that there is.
        "MALLOC_ARENA_MAX": "1",
    }


class WorkerLost(Exception):
    """The worker died of a job, took too long, or answered nonsense."""


class WorkAbandoned(Exception):
    """Nobody wants the answer of the job any more."""


class WorkerPlace:
    """A place for one worker process, which is replaced when it dies or gets old.

    One thread at a time uses it.

    Args:
        name: Of the work, for messages: "thumbnail".
        command: As for `WorkerProcess`.
        limits: The same.
        temp_dir: The same.
        arguments: The same.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        limits: WorkerLimits,
        temp_dir: Path,
        arguments: Sequence[str] = (),
    ) -> None:
        self._name = name
        self._command = command
        self._limits = limits
        self._temp_dir = temp_dir
        self._arguments = arguments
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._is_busy = False
        self._is_abandoned = False
        self._is_stopped = False

    @property
    def is_taken(self) -> bool:
        """Whether a worker was started and not ended."""
        return self._worker is not None

    def describe(self) -> list[str]:
        """Start the worker if need be, and say how it is confined."""
        return self._running_worker().confinement

    def exchange(
        self,
        message: dict[str, Any],
        files: tuple[int, ...],
        decode: Callable[[dict[str, Any]], T],
    ) -> T:
        """Give the worker a job and wait for the answer.

        Args:
            message: The job.
            files: Open files that go along.
            decode: Reads the answer; raises `ProtocolError` when it isn't one.

        Raises:
            WorkerLost: it has been replaced.
            WorkAbandoned: `abandon` was called.
            MatrixError: 503 when no worker can be had.
        """
        with self._lock:
            self._is_busy, self._is_abandoned = True, False
        try:
            return self._exchange(message, files, decode)
        finally:
            with self._lock:
                self._is_busy = False

    def _exchange(
        self,
        message: dict[str, Any],
        files: tuple[int, ...],
        decode: Callable[[dict[str, Any]], T],
        *,
        is_retry: bool = False,
    ) -> T:
        worker = self._running_worker()
        if self._is_abandoned:
            # It was just being started.
            raise WorkAbandoned
        worker.channel.limit(self._limits.wall_seconds)
        try:
            worker.channel.send(message, files)
            received = worker.channel.receive()
            if received is None:
                raise ProtocolError("it ended")
            answer = decode(received[0])
        except (ProtocolError, OSError) as error:
            self._lose(worker, error)
            if isinstance(error, ConnectionError) and not is_retry:
                # It was dying already and never read the job, which isn't to blame.
                return self._exchange(message, files, decode, is_retry=True)
            raise WorkerLost from error
        worker.jobs += 1
        if worker.jobs >= self._limits.jobs:
            self.discard()
        return answer

    def _lose(self, worker: WorkerProcess, error: Exception) -> None:
        words = worker.last_words()
        self.discard()
        if self._is_stopped:
            raise unavailable("The server is shutting down")
        if self._is_abandoned:
            raise WorkAbandoned
        logger.warning("A %s worker was lost: %r, %s", self._name, error, words)

    def _running_worker(self) -> WorkerProcess:
        if self._worker is not None and not self._worker.is_alive:
            logger.warning("A %s worker ended while it was idle", self._name)
            self.discard()
        if self._worker is None:
            self._start()
        assert self._worker is not None
        return self._worker

    def _start(self) -> None:
        try:
            worker = WorkerProcess(
                self._command, self._limits, self._temp_dir, self._arguments
            )
        except (ProtocolError, OSError) as error:
            logger.error("A %s worker can't be started: %s", self._name, error)
            raise unavailable(
                f"The server can't do this at the moment ({self._name})"
            ) from error
        with self._lock:
            self._worker = worker
        if self._is_stopped:
            self.discard()
            raise unavailable("The server is shutting down")

    def discard(self) -> None:
        """End the worker; the next job gets a fresh one."""
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def abandon(self) -> None:
        """End a running job now; others follow. Doesn't block; any thread."""
        with self._lock:
            if self._is_busy:
                self._is_abandoned = True
                if self._worker is not None:
                    self._worker.kill()

    def interrupt(self) -> None:
        """End a running job now, for good. Doesn't block; any thread."""
        self._is_stopped = True
        with self._lock:
            if self._worker is not None:
                self._worker.kill()

    def close(self) -> None:
        """End the worker for good. Only when no job runs."""
        self._is_stopped = True
        self.discard()
