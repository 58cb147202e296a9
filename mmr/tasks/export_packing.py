"""Packs media into parts: a pool thread compresses while the next files are fetched."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any

import attrs

from twisted.internet.defer import CancelledError, Deferred

from mmr.archives.manifest import MediaEntry
from mmr.archives.writer import EntryHead, PartEncoder, part_name
from mmr.tasks.export_plan import Checkpoint, ExportParts, Tell
from mmr.util.threads import Runner

logger = logging.getLogger(__name__)

_BATCH_BYTES = 1024 * 1024
_BATCH_ENTRIES = 500


@attrs.define
class _Batch:
    """What a pool thread gets at once, and the media that are whole with it."""

    pieces: list[EntryHead | bytes] = attrs.field(factory=list)
    entries: list[MediaEntry] = attrs.field(factory=list)
    size: int = 0


class Packer:
    """Fills one part after the other.

    Args:
        files: Pool for compression.
        finished: Parts that are there already.
        tell: Told of damaged files (R102).

    Attributes:
        finished: Parts that are there.
        payload: Bytes of media in the part under way.
        count: Media in it.
    """

    def __init__(
        self, parts: ExportParts, files: Runner, finished: int, tell: Tell
    ) -> None:
        self.finished = finished
        self.payload = 0
        self.count = 0
        self._parts = parts
        self._files = files
        self._tell = tell
        self._encoder: PartEncoder | None = None
        self._batch = _Batch()
        self._behind = _Behind()

    @property
    def is_open(self) -> bool:
        """Whether a part is under way."""
        return self._encoder is not None

    async def begin(self, head: EntryHead) -> None:
        """Start an entry, and a part if there is none."""
        if self._encoder is None:
            await self._begin_part()
        self._batch.pieces.append(head)
        self.payload += head.size
        self.count += 1

    async def add(self, data: bytes) -> None:
        """Append bytes to the entry."""
        self._batch.pieces.append(data)
        self._batch.size += len(data)
        if self._batch.size >= _BATCH_BYTES:
            await self.flush()

    async def list(self, entry: MediaEntry) -> None:
        """The entry is whole: the manifest names it."""
        self._batch.entries.append(entry)
        if len(self._batch.entries) >= _BATCH_ENTRIES:
            await self.flush()

    async def flush(self) -> None:
        """Have everything so far written, behind what is being written already."""
        batch, self._batch = self._batch, _Batch()
        if batch.pieces or batch.entries:
            await self._behind.run(self._write(batch))

    async def finish_part(self, now: Checkpoint) -> Checkpoint:
        """Close the part under way; an empty one, if there is none.

        Returns:
            How far the export is, with the damaged files that were found.
        """
        if self._encoder is None:
            await self._begin_part()
        await self.settle()
        encoder, self._encoder = self._encoder, None
        assert encoder is not None
        await self._parts.write(await self._files.run(encoder.close))
        for name in encoder.altered:
            self._tell("damaged", _mxc_of(name), "its hash isn't the record's")
        now = attrs.evolve(now, damaged=now.damaged + len(encoder.altered))
        await self._parts.finish(now)
        self.finished += 1
        self.payload = self.count = 0
        return now

    async def settle(self) -> None:
        """Wait until all of it is written."""
        await self.flush()
        await self._behind.wait()

    async def stop(self) -> None:
        """Break off what is being written."""
        await self._behind.stop()

    async def _begin_part(self) -> None:
        name = part_name(self.finished + 1)
        await self._parts.begin(name)
        self._encoder = PartEncoder(name)

    async def _write(self, batch: _Batch) -> None:
        if batch.pieces:
            assert self._encoder is not None
            data = await self._files.run(self._encoder.encode, batch.pieces)
            await self._parts.write(data)
        await self._parts.note(batch.entries)


def _mxc_of(entry: str) -> str:
    origin, _, rest = entry.partition("__")
    return f"mxc://{origin}/{rest.partition('.')[0]}"


class _Behind:
    """One piece of work at a time that goes on while its owner does something else."""

    def __init__(self) -> None:
        self._work: Deferred[None] | None = None

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Start the next piece once the one before is done."""
        try:
            await self.wait()
        except BaseException:
            work.close()
            raise
        self._work = Deferred.fromCoroutine(work)

    async def wait(self) -> None:
        """Wait for what is under way; its failure is the caller's."""
        work, self._work = self._work, None
        if work is not None:
            await work

    async def stop(self) -> None:
        """Break it off."""
        work, self._work = self._work, None
        if work is None:
            return
        work.cancel()
        try:
            await work
        except CancelledError:
            logger.debug("A batch of an export was broken off")
        except Exception:
            # Its owner has failed before and tells about that.
            logger.exception("A batch of an export could not be written")
