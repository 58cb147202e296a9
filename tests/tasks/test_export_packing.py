"""Media is packed in batches of bounded size, behind its readers' back."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from mmr.archives.manifest import MediaEntry
from mmr.archives.writer import EntryHead
from mmr.tasks.export_packing import Packer
from mmr.tasks.export_plan import Checkpoint

from tests.archives.test_manifest import ENTRY
from tests.datastores.s3_server import started_pool


class Parts:
    """Parts in memory."""

    def __init__(self) -> None:
        self.finished: list[bytes] = []
        self.notes: list[int] = []
        self.writes: list[int] = []
        self.stuck: Deferred[None] | None = None
        self._part = b""

    async def begin(self, file_name: str) -> None:
        self._part = b""

    async def write(self, data: bytes) -> None:
        if self.stuck is not None:
            await self.stuck
        self._part += data
        self.writes.append(len(data))

    async def note(self, entries: Sequence[MediaEntry]) -> None:
        self.notes.append(len(entries))

    async def finish(self, checkpoint: Checkpoint) -> None:
        self.finished.append(self._part)

    async def entries(self) -> AsyncIterator[list[MediaEntry]]:
        yield []

    async def discard(self) -> None:
        self._part = b""


class PackerTests(TestCase):
    def setUp(self) -> None:
        self.parts = Parts()
        self.told: list[tuple[str, ...]] = []
        self.packer = Packer(
            self.parts,
            started_pool(self, "files"),
            0,
            lambda *words: self.told.append(words),
        )

    async def pack(self, name: str, data: bytes, sha256: str = "") -> None:
        await self.packer.begin(EntryHead(name, len(data), 0, sha256))
        await self.packer.add(data)
        await self.packer.list(ENTRY)

    async def test_many_tiny_files_are_noted_some_at_a_time(self) -> None:
        for number in range(1700):
            await self.pack(f"f{number}", b"")
        now = await self.packer.finish_part(Checkpoint())
        self.assertEqual(self.parts.notes, [500, 500, 500, 200])
        self.assertEqual((self.packer.finished, self.packer.count), (1, 0))
        self.assertEqual(now, Checkpoint())
        with tarfile.open(fileobj=io.BytesIO(self.parts.finished[0])) as part:
            self.assertEqual(len(part.getnames()), 1700)

    async def test_large_files_are_written_some_bytes_at_a_time(self) -> None:
        piece = bytes(256 * 1024)
        await self.packer.begin(EntryHead("large", 16 * len(piece), 0))
        for _ in range(16):
            await self.packer.add(piece)
        await self.packer.finish_part(Checkpoint())
        # Four batches, and the end.
        self.assertEqual(len(self.parts.writes), 5)

    async def test_damaged_files_are_told_of_with_their_address(self) -> None:
        """R102."""
        await self.pack("example.org__a_b__c.png", b"data", "0" * 64)
        now = await self.packer.finish_part(Checkpoint())
        self.assertEqual(now.damaged, 1)
        ((word, mxc, _),) = self.told
        self.assertEqual((word, mxc), ("damaged", "mxc://example.org/a_b__c"))

    async def test_a_failure_behind_reaches_the_next_step(self) -> None:
        self.parts.stuck = Deferred()
        await self.pack("a", b"data")
        await self.packer.flush()
        self.parts.stuck.errback(OSError(28, "No space left on device"))
        with self.assertRaises(OSError):
            await self.packer.finish_part(Checkpoint())
        await self.packer.stop()
        self.assertEqual(self.parts.finished, [])

    async def test_what_is_written_can_be_broken_off(self) -> None:
        self.parts.stuck = Deferred()
        await self.pack("a", b"data")
        await self.packer.flush()
        waiting = Deferred.fromCoroutine(self.packer.settle())
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        await self.packer.stop()
        await self.packer.stop()
        self.assertEqual(self.parts.notes, [])
