"""Where one thumbnail worker does one job at a time. It blocks: for pool threads."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import attrs

from mmr.thumbnailing.checks import check_result
from mmr.thumbnailing.model import (
    ImageInfo,
    Refusal,
    Refused,
    Rendered,
    refusal_error,
)
from mmr.thumbnailing.programs import Family, find_programs
from mmr.thumbnailing.protocol import Job, Reply
from mmr.util.confined.limits import WorkerLimits
from mmr.util.confined.process import WorkerLost, WorkerPlace

logger = logging.getLogger(__name__)

WORKER_COMMAND = (sys.executable, "-m", "mmr.thumbnailing.worker")


@attrs.frozen
class Outcome:
    """A job that went well: the source, and a thumbnail for each target in order."""

    info: ImageInfo
    rendered: tuple[Rendered, ...]


def _programs(family: Family | None) -> list[str]:
    if family is None:
        return []
    programs = dict(find_programs(family))
    return [json.dumps({"programs": programs, "readable": family.readable})]


class WorkerSlot:
    """Does jobs in a worker process, and checks what comes of them.

    One thread at a time runs jobs in it.

    Args:
        command: The worker program.
        limits: What it may use.
        temp_dir: For its empty folder; results pass through unnamed files there.
        family: Whose programs it may execute.
    """

    def __init__(
        self,
        command: Sequence[str],
        limits: WorkerLimits,
        temp_dir: Path,
        family: Family | None = None,
    ) -> None:
        self._limits = limits
        self._temp_dir = temp_dir
        self._place = WorkerPlace(
            "thumbnail", command, limits, temp_dir, _programs(family)
        )

    def describe(self) -> list[str]:
        """Start the worker if need be, and say how it is confined."""
        return self._place.describe()

    def run(self, source: Path, job: Job) -> Outcome:
        """Do a job.

        Raises:
            Refused: when the source can't be drawn, however that came about.
            WorkAbandoned: `abandon` was called.
            MatrixError: 503 when no worker can be had, or the disk is full.
            OSError: when the source can't be opened.
        """
        with open(source, "rb") as file:
            if os.fstat(file.fileno()).st_size > job.options.max_source_bytes:
                raise Refused(Refusal.TOO_LARGE)
            with tempfile.TemporaryFile(dir=self._temp_dir) as output:
                reply = self._exchange(job, file, output)
                if reply.refusal is Refusal.NO_ROOM:
                    logger.error(
                        "No thumbnail: %s in %s. Free space on that disk, or name"
                        " another folder in TMPDIR.",
                        reply.detail,
                        self._temp_dir,
                    )
                    raise refusal_error(reply.refusal)
                if reply.refusal is not None:
                    logger.info("No thumbnail: %s %s", reply.refusal, reply.detail)
                    raise Refused(reply.refusal)
                return self._collect(job, reply, output)

    def _exchange(self, job: Job, source: IO[bytes], output: IO[bytes]) -> Reply:
        files = (source.fileno(), output.fileno())
        try:
            reply = self._place.exchange(
                job.encode(), files, lambda m: Reply.decode(m, len(job.targets))
            )
        except WorkerLost:
            return Reply(refusal=Refusal.CRASHED)
        if reply.refusal is Refusal.CRASHED:
            self._place.discard()
        return reply

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
                self._place.discard()
                raise Refused(Refusal.CRASHED)
            rendered.append(
                Rendered(
                    part.content_type, part.width, part.height, data, part.animated
                )
            )
        return Outcome(reply.info, tuple(rendered))

    def abandon(self) -> None:
        """End a running job now; others follow. Doesn't block; any thread."""
        self._place.abandon()

    def interrupt(self) -> None:
        """End a running job now. Doesn't block; any thread."""
        self._place.interrupt()

    def close(self) -> None:
        """End the worker. Only when no job runs."""
        self._place.close()
