"""A part as a stream of what is wanted of it."""

from __future__ import annotations

import gc
import gzip
import os
import weakref
from collections.abc import AsyncIterator, Collection

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mmr.archives.part_process import PartProcess
from mmr.tasks.archive_part import PartStream
from mmr.util.memory_file import Payload, SharedFile
from mmr.util.threads import WorkerPool

from tests.archives.test_reader import tar

PIECE_BYTES = 1_000_000


def nothing(entries: Collection[tuple[str, int]]) -> dict[str, bool]:
    return {}


def everything(entries: Collection[tuple[str, int]]) -> dict[str, bool]:
    return {name: True for name, _ in entries}


class StreamTests(TestCase):
    def setUp(self) -> None:
        self.threads = WorkerPool("tests", 2, 10, reactor)
        self.threads.start()
        self.addCleanup(self.threads.stop)
        self.process = PartProcess()
        self.addCleanup(self.process.end)
        self.most = 0

    def watch_files(self) -> None:
        """Count those that are open at once."""
        alive: weakref.WeakSet[SharedFile] = weakref.WeakSet()
        in_memory = SharedFile.in_memory

        def counted() -> SharedFile:
            file = in_memory()
            alive.add(file)
            self.most = max(self.most, len(alive))
            return file

        self.patch(SharedFile, "in_memory", staticmethod(counted))

    async def pieces(self, packed: bytes) -> AsyncIterator[Payload]:
        for start in range(0, len(packed), PIECE_BYTES):
            yield packed[start : start + PIECE_BYTES]

    async def test_what_is_done_with_needs_no_memory(self) -> None:
        """Nor a collection of garbage, which may be long in coming."""
        entries = [(f"f{number}", os.urandom(100_000)) for number in range(300)]
        packed = gzip.compress(tar(entries), 1)
        self.watch_files()
        gc.disable()
        self.addCleanup(gc.enable)
        for find in (nothing, everything):
            self.most, found = 0, 0
            part = PartStream(self.process, self.pieces(packed), find, self.threads)
            async for _ in part:
                found += 1
            await part.close()
            self.assertEqual(found, 300 if find is everything else 0)
            self.assertLess(self.most, 6)

    async def test_a_part_that_is_given_up_leaves_no_process(self) -> None:
        packed = gzip.compress(tar([(f"f{n}", os.urandom(9000)) for n in range(900)]))
        part = PartStream(self.process, self.pieces(packed), everything, self.threads)
        await anext(part)
        await part.close()
        self.assertIsNone(self.process._worker)
        again = PartStream(self.process, self.pieces(packed), everything, self.threads)
        self.assertEqual(len([entry async for entry in again]), 900)
        await again.close()
        self.assertIsNotNone(self.process._worker)
