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
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import attrs

import mmr
from mmr.errors import unavailable
from mmr.thumbnailing.checks import check_result
from mmr.thumbnailing.model import (
    ImageInfo,
    Refusal,
    Refused,
    Rendered,
    WorkerLimits,
)
from mmr.thumbnailing.programs import Family, find_programs
from mmr.thumbnailing.protocol import Channel, Job, ProtocolError, Reply

logger = logging.getLogger(__name__)

WORKER_COMMAND = (sys.executable, "-m", "mmr.thumbnailing.worker")

_STDERR_BYTES = 2000


@attrs.frozen
class Outcome:
    """A job that went well: the source, and a thumbnail for each target in order."""

    info: ImageInfo
    rendered: tuple[Rendered, ...]


class WorkerProcess:
    """One running worker.

    Args:
        command: The program; the limits are appended as an argument.
        limits: What it may use.
        temp_dir: Its empty working directory is made there.
        family: Whose programs it may execute.

    Raises:
        OSError: when it can't be started.
        ProtocolError: when it doesn't come up.
    """

    def __init__(
        self,
        command: Sequence[str],
        limits: WorkerLimits,
        temp_dir: Path,
        family: Family | None = None,
    ) -> None:
        self._folder = tempfile.mkdtemp(prefix="thumbnailer-", dir=temp_dir)
        self._errors = tempfile.TemporaryFile(dir=temp_dir)
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self.jobs = 0
        with theirs:
            self._process = subprocess.Popen(
                [*command, json.dumps(attrs.asdict(limits)), *_programs(family)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                cwd=self._folder,
                env=_environment(),
                start_new_session=True,
            )
        self.channel.limit(limits.wall_seconds)
        try:
            self.confinement = self._greeting()
        except (ProtocolError, OSError):
            self.close()
            raise

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
        shutil.rmtree(self._folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    """Nothing of ours but the way to our code (R35)."""
    assert mmr.__file__ is not None
    code = str(Path(mmr.__file__).resolve().parent.parent)
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": code}


def _programs(family: Family | None) -> list[str]:
    if family is None:
        return []
    programs = dict(find_programs(family))
    return [json.dumps({"programs": programs, "readable": family.readable})]


class WorkerSlot:
    """A place for one worker process, which is replaced when it dies or gets old.

    One thread at a time runs jobs in it.

    Args:
        command: As for `WorkerProcess`.
        limits: The same.
        temp_dir: The same; results pass through unnamed files there.
        family: The same.
    """

    def __init__(
        self,
        command: Sequence[str],
        limits: WorkerLimits,
        temp_dir: Path,
        family: Family | None = None,
    ) -> None:
        self._command = command
        self._limits = limits
        self._temp_dir = temp_dir
        self._family = family
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._is_stopped = False

    def describe(self) -> list[str]:
        """Start the worker if need be, and say how it is confined."""
        return self._running_worker().confinement

    def run(self, source: Path, job: Job) -> Outcome:
        """Do a job.

        Raises:
            Refused: when the source can't be drawn, however that came about.
            MatrixError: 503 when no worker can be had.
            OSError: when the source can't be opened.
        """
        with open(source, "rb") as file:
            if os.fstat(file.fileno()).st_size > job.options.max_source_bytes:
                raise Refused(Refusal.TOO_LARGE)
            with tempfile.TemporaryFile(dir=self._temp_dir) as output:
                reply = self._exchange(job, file, output)
                if reply.refusal is not None:
                    logger.info("No thumbnail: %s %s", reply.refusal, reply.detail)
                    raise Refused(reply.refusal)
                return self._collect(job, reply, output)

    def _exchange(self, job: Job, source: IO[bytes], output: IO[bytes]) -> Reply:
        worker = self._running_worker()
        worker.channel.limit(self._limits.wall_seconds)
        try:
            worker.channel.send(job.encode(), (source.fileno(), output.fileno()))
            received = worker.channel.receive()
            if received is None:
                raise ProtocolError("it ended")
            reply = Reply.decode(received[0], len(job.targets))
        except (ProtocolError, OSError) as error:
            return self._crashed(worker, error)
        worker.jobs += 1
        if worker.jobs >= self._limits.jobs or reply.refusal is Refusal.CRASHED:
            self._discard()
        return reply

    def _crashed(self, worker: WorkerProcess, error: Exception) -> Reply:
        words = worker.last_words()
        self._discard()
        if self._is_stopped:
            raise unavailable("The server is shutting down")
        logger.warning("A thumbnail worker was lost: %r, %s", error, words)
        return Reply(refusal=Refusal.CRASHED)

    def _collect(self, job: Job, reply: Reply, output: IO[bytes]) -> Outcome:
        """Read the results and check each (R39)."""
        assert reply.info is not None
        rendered, at = [], 0
        for target, part in zip(job.targets, reply.parts, strict=True):
            length = min(max(part.length, 0), self._limits.file_bytes)
            data = os.pread(output.fileno(), length, at)
            at += length
            if not check_result(reply.info, target, part, data):
                logger.error("A thumbnail worker made a wrong result: %r", part)
                self._discard()
                raise Refused(Refusal.CRASHED)
            rendered.append(
                Rendered(
                    part.content_type, part.width, part.height, data, part.animated
                )
            )
        return Outcome(reply.info, tuple(rendered))

    def _running_worker(self) -> WorkerProcess:
        if self._worker is not None and not self._worker.is_alive:
            logger.warning("A thumbnail worker ended while it was idle")
            self._discard()
        if self._worker is None:
            self._start()
        assert self._worker is not None
        return self._worker

    def _start(self) -> None:
        try:
            worker = WorkerProcess(
                self._command, self._limits, self._temp_dir, self._family
            )
        except (ProtocolError, OSError) as error:
            logger.error("A thumbnail worker can't be started: %s", error)
            raise unavailable("Thumbnails are not available at the moment") from error
        with self._lock:
            self._worker = worker
        if self._is_stopped:
            self._discard()
            raise unavailable("The server is shutting down")

    def _discard(self) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def interrupt(self) -> None:
        """End a running job now. Doesn't block; any thread."""
        self._is_stopped = True
        with self._lock:
            if self._worker is not None:
                self._worker.kill()

    def close(self) -> None:
        """End the worker. Only when no job runs."""
        self._is_stopped = True
        self._discard()
