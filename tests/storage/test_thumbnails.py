"""Thumbnail records, and intents that lead to records."""

from __future__ import annotations

import attrs

from twisted.internet.defer import ensureDeferred, gatherResults

from mmr.storage import Database, Transaction
from mmr.storage.datastore_totals import DatastoreTotal
from mmr.storage.datastores import DatastoreStore
from mmr.storage.intents import Intent, IntentStore
from mmr.storage.media import MediaStore
from mmr.storage.object_deletes import ObjectDeleteStore
from mmr.storage.objects import ObjectName, find_with_hash_txn
from mmr.storage.thumbnails import ThumbnailKey, ThumbnailRecord, ThumbnailStore
from mmr.types import Method

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase, media_record

_KEY = ThumbnailKey("example.org", "abc", 96, 96, Method.CROP, False)
_RECORD = ThumbnailRecord(
    key=_KEY,
    content_type="image/png",
    size_bytes=30,
    location="th/um/b",
    creation_ts=1_700_000_000_000,
    sha256_hash="b" * 64,
    datastore_id="main",
)


class ThumbnailTests(StorageTestCase):
    async def test_a_record_comes_back_by_its_key(self) -> None:
        db = await self.open()
        store = ThumbnailStore(db)
        animated = attrs.evolve(_RECORD, key=attrs.evolve(_KEY, animated=True))
        for record in _RECORD, animated:
            stored = await db.interaction("t", store.insert_thumbnail_txn, record)
            self.assertEqual(stored, record)
            self.assertEqual(await store.get_thumbnail(record.key), record)
        other = attrs.evolve(_KEY, method=Method.SCALE)
        self.assertIsNone(await store.get_thumbnail(other))
        of_media = await db.interaction(
            "t", store.get_thumbnails_of_txn, "example.org", "abc"
        )
        self.assertEqual(
            sorted(of_media, key=lambda thumbnail: thumbnail.key.animated),
            [_RECORD, animated],
        )
        self.assertEqual(
            await db.interaction("t", find_with_hash_txn, "b" * 64),
            ObjectName("main", "th/um/b"),
        )

    async def test_the_first_of_several_renders_counts_for_all(self) -> None:
        """D70: two processes made one thumbnail at once; the same one wins for both."""
        databases = [await self.open(), await self.open()]

        def insert(number: int) -> object:
            db = databases[number % 2]
            record = attrs.evolve(_RECORD, location=str(number))
            insert_txn = ThumbnailStore(db).insert_thumbnail_txn
            return ensureDeferred(db.interaction("t", insert_txn, record))

        stored = await gatherResults([insert(number) for number in range(10)])
        self.assertEqual(len(set(stored)), 1)
        totals = await DatastoreStore(databases[0]).get_totals()
        self.assertEqual(totals, {"main": DatastoreTotal(30, 1)})

    async def test_an_object_shared_with_media_outlives_the_thumbnail(self) -> None:
        db = await self.open()
        media, store = MediaStore(db), ThumbnailStore(db)
        shared = attrs.evolve(_RECORD, location="ab/cd/ef")
        await db.interaction("t", media.insert_media_txn, media_record())
        await db.interaction("t", store.insert_thumbnail_txn, shared)
        delete = store.delete_thumbnail_txn
        self.assertTrue(await db.interaction("t", delete, shared))
        self.assertFalse(await db.interaction("t", delete, shared))
        self.assertEqual(await ObjectDeleteStore(db).get_due(10), [])
        await db.interaction("t", store.insert_thumbnail_txn, _RECORD)
        self.assertTrue(await db.interaction("t", delete, _RECORD))
        due = await ObjectDeleteStore(db).get_due(10)
        self.assertEqual(due, [ObjectName("main", "th/um/b")])

    async def test_an_unused_object_is_swept(self) -> None:
        """R95: a process died between the object and the record."""
        db = await self.open()
        intents = IntentStore(db)
        intent = Intent(ObjectName("main", "ab/cd/ef"), "a" * 64)
        await intents.add(intent)
        self.assertEqual(await intents.get_old(60_000, 10), [])
        await self._make_older(db)
        self.assertEqual(await intents.get_old(60_000, 10), [intent])
        self.assertTrue(await intents.sweep(intent))
        self.assertFalse(await intents.sweep(intent))
        self.assertEqual(await intents.get_old(60_000, 10), [])
        due = await ObjectDeleteStore(db).get_due(10)
        self.assertEqual(due, [intent.name])

    async def test_an_object_with_a_record_is_never_swept(self) -> None:
        """R95: it is looked at again inside the lock of the hash."""
        db = await self.open()
        intents, media = IntentStore(db), MediaStore(db)
        intent = Intent(ObjectName("main", "ab/cd/ef"), "a" * 64)
        await intents.add(intent)
        await db.interaction("t", media.insert_media_txn, media_record())
        self.assertFalse(await intents.sweep(intent))
        self.assertEqual(await ObjectDeleteStore(db).get_due(10), [])

    async def test_a_commit_after_the_sweep_sees_that_its_object_is_lost(self) -> None:
        """R95, R101: whoever ends the intent decides what becomes of the object."""
        db = await self.open()
        intents = IntentStore(db)
        intent = Intent(ObjectName("main", "ab/cd/ef"), "a" * 64)
        await intents.add(intent)
        await intents.sweep(intent)
        self.assertFalse(await db.interaction("t", intents.remove_txn, intent.name))
        await intents.add(intent)
        self.assertTrue(await db.interaction("t", intents.remove_txn, intent.name))

    async def _make_older(self, db: Database) -> None:
        def make_older(txn: Transaction) -> None:
            txn.execute("UPDATE mmr_object_intents SET since_ts = since_ts - 100000")

        await db.interaction("t", make_older)


class SqliteThumbnailTests(ThumbnailTests, OnSqlite):
    __test__ = True


class PostgresThumbnailTests(ThumbnailTests, OnPostgres):
    __test__ = True
