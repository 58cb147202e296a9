"""Media records."""

from __future__ import annotations

from mmr.storage import MediaExists
from mmr.storage.media import MediaStore

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase, media_record


class MediaTests(StorageTestCase):
    async def test_a_record_comes_back_as_it_was_inserted(self) -> None:
        db = await self.open()
        store = MediaStore(db)
        stored = await db.interaction("t", store.insert_media_txn, media_record())
        self.assertEqual(stored, media_record())
        self.assertEqual(await store.get_media("example.org", "abc"), media_record())
        self.assertIsNone(await store.get_media("example.org", "other"))

    async def test_a_second_record_for_one_id_is_refused(self) -> None:
        db = await self.open()
        store = MediaStore(db)
        await db.interaction("t", store.insert_media_txn, media_record())
        with self.assertRaises(MediaExists):
            await db.interaction("t", store.insert_media_txn, media_record())


class SqliteMediaTests(MediaTests, OnSqlite):
    __test__ = True


class PostgresMediaTests(MediaTests, OnPostgres):
    __test__ = True
