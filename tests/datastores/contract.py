"""What every datastore provider keeps, whatever is behind it.

A provider's test case inherits from `DatastoreContract` and `TestCase`, and says how
its store is made.
"""

from __future__ import annotations

import hashlib
import os

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from mmr.cluster.ids import IdGenerator
from mmr.datastores.base import (
    BadLocation,
    Datastore,
    DatastoreError,
    ObjectMissing,
    ObjectWriter,
)
from mmr.util.clock import Clock

SIZES = (0, 1, 20_000, 64 * 1024 + 1, 256 * 1024, 700_000)


class DatastoreContract(TestCase):
    """The tests. Collected in the providers' modules only."""

    __test__ = False

    def make_datastore(self) -> Datastore:
        """An empty store."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.store = self.make_datastore()
        self.ids = IdGenerator(0, Clock(reactor))  # type: ignore[arg-type]

    def new_location(self) -> str:
        return self.store.location_of(self.ids.object_name())

    async def sealed(self, data: bytes, piece: int = 50_000) -> ObjectWriter:
        writer = await self.store.create(len(data))
        for start in range(0, len(data), piece):
            await writer.write(data[start : start + piece])
        self.assertEqual(await writer.seal(), hashlib.sha256(data).hexdigest())
        self.assertEqual(writer.size, len(data))
        return writer

    async def stored(self, data: bytes) -> str:
        writer = await self.sealed(data)
        location = self.new_location()
        await writer.publish(location)
        await writer.discard()
        return location

    async def read(self, location: str) -> bytes:
        found = await self.store.open(location)
        try:
            return await found.read(0, found.size)
        finally:
            await found.close()

    async def test_gives_back_what_was_written(self) -> None:
        for size in SIZES:
            data = os.urandom(size)
            self.assertEqual(await self.read(await self.stored(data)), data)

    async def test_takes_pieces_of_any_size(self) -> None:
        data = os.urandom(600_000)
        for piece in (7_001, 300_000, 1_000_000):
            writer = await self.sealed(data, piece)
            location = self.new_location()
            await writer.publish(location)
            self.assertEqual(await self.read(location), data)

    async def test_reads_parts(self) -> None:
        for size in (1_000, 300_000):
            data = os.urandom(size)
            found = await self.store.open(await self.stored(data))
            self.assertEqual(found.size, size)
            self.assertEqual(await found.read(10, 20), data[10:30])
            self.assertEqual(await found.read(size - 5, 100), data[-5:])
            self.assertEqual(await found.read(size, 1), b"")
            await found.close()
            await found.close()

    async def test_nothing_is_visible_before_it_is_published(self) -> None:
        location = self.new_location()
        for size in (1_000, 300_000):
            writer = await self.sealed(os.urandom(size))
            with self.assertRaises(ObjectMissing):
                await self.store.open(location)
            await writer.discard()

    async def test_a_discarded_object_never_appears(self) -> None:
        for size in (1_000, 300_000):
            writer = await self.store.create()
            await writer.write(os.urandom(size))
            await writer.discard()
            await writer.discard()
            self.assertEqual(await self.store.sweep_temporary(-1), 0)

    async def test_discard_after_publish_keeps_the_object(self) -> None:
        for size in (1_000, 300_000):
            data = os.urandom(size)
            location = await self.stored(data)
            self.assertEqual(await self.read(location), data)

    async def test_publish_never_overwrites(self) -> None:
        location = await self.stored(b"the first")
        writer = await self.sealed(b"the second")
        with self.assertRaises(DatastoreError):
            await writer.publish(location)
        self.assertEqual(await self.read(location), b"the first")

    async def test_a_missing_object_is_told_apart_from_a_broken_store(self) -> None:
        with self.assertRaises(ObjectMissing):
            await self.store.open(self.new_location())

    async def test_delete_tells_whether_it_was_there(self) -> None:
        location = await self.stored(b"data")
        other = await self.stored(b"other")
        self.assertTrue(await self.store.delete(location))
        self.assertFalse(await self.store.delete(location))
        with self.assertRaises(ObjectMissing):
            await self.store.open(location)
        self.assertEqual(await self.read(other), b"other")

    async def test_an_open_object_outlives_its_deletion(self) -> None:
        for size in (1_000, 300_000):
            data = os.urandom(size)
            location = await self.stored(data)
            found = await self.store.open(location)
            await self.store.delete(location)
            self.assertEqual(await found.read(0, size), data)
            await found.close()

    async def test_bad_locations_are_refused(self) -> None:
        """R71: a bad row reads and deletes nothing."""
        for location in ("", "/etc/passwd", "../x", "ab/../../x", "ab//x", "ab/x\0"):
            with self.assertRaises(BadLocation):
                await self.store.open(location)
            with self.assertRaises(BadLocation):
                await self.store.delete(location)

    async def test_concurrent_writers_do_not_meet(self) -> None:
        contents = [os.urandom(1_000 + 40_000 * number) for number in range(12)]
        locations = await gatherResults(
            [Deferred.fromCoroutine(self.stored(data)) for data in contents]
        )
        self.assertEqual(len(set(locations)), len(contents))
        for location, data in zip(locations, contents, strict=True):
            self.assertEqual(await self.read(location), data)

    async def test_a_usable_store_passes_its_check(self) -> None:
        await self.store.check()

    async def test_a_usable_store_takes_a_probe(self) -> None:
        """R97."""
        await self.store.check()
        await self.store.probe()
