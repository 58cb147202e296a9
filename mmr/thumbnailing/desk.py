"""A place where one source at a time is worked on, by the worker that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from mmr.thumbnailing.model import Refusal, Refused
from mmr.thumbnailing.process import Outcome, WorkerSlot
from mmr.thumbnailing.programs import FAMILIES, Family, family_of, find_programs
from mmr.thumbnailing.protocol import Job
from mmr.thumbnailing.sniff import SNIFF_BYTES, sniff
from mmr.util.confined.limits import WorkerLimits


class Desk:
    """Picks a worker by what the bytes are, never by the label (R28).

    Pictures go to a worker that can't execute anything; audio, video, SVG and PDF each
    to one that can execute their programs only. All are started when first needed. One
    thread at a time runs jobs here.

    Args:
        command: As for `WorkerSlot`.
        limits: The same.
        temp_dir: The same.
    """

    def __init__(
        self, command: Sequence[str], limits: WorkerLimits, temp_dir: Path
    ) -> None:
        self._pictures = WorkerSlot(command, limits, temp_dir)
        # They write the source to a file, and have read it into memory before.
        roomy = attrs.evolve(limits, file_bytes=limits.address_space)
        self._others = {
            family: WorkerSlot(command, roomy, temp_dir, family)
            for family in FAMILIES
            if find_programs(family)
        }

    @property
    def _slots(self) -> list[WorkerSlot]:
        return [self._pictures, *self._others.values()]

    def describe(self) -> list[str]:
        """Start the worker for pictures, and say how it is confined."""
        return self._pictures.describe()

    def run(self, source: Path, job: Job) -> Outcome:
        """Do a job.

        Raises:
            Refused: when the source can't be drawn, however that came about.
            WorkAbandoned: `abandon` was called.
            MatrixError: 503 when no worker can be had.
            OSError: when the source can't be opened.
        """
        with open(source, "rb") as file:
            sniffed = sniff(file.read(SNIFF_BYTES))
        family = family_of(sniffed.content_type) if sniffed else None
        return self._slot_for(family).run(source, job)

    def _slot_for(self, family: Family | None) -> WorkerSlot:
        if family is None:
            return self._pictures
        if family not in self._others:
            raise Refused(Refusal.UNSUPPORTED)
        return self._others[family]

    def abandon(self) -> None:
        """End a running job now; others follow. Doesn't block; any thread."""
        for slot in self._slots:
            slot.abandon()

    def interrupt(self) -> None:
        """End a running job now. Doesn't block; any thread."""
        for slot in self._slots:
            slot.interrupt()

    def close(self) -> None:
        """End the workers. Only when no job runs."""
        for slot in self._slots:
            slot.close()
