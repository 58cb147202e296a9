"""Media records, what restricts them, and the objects behind them."""

from __future__ import annotations

from twisted.internet.defer import DeferredList, ensureDeferred

from mmr.storage import Database, MediaExists, Transaction
from mmr.storage.attributes import AttributeStore, Purpose
from mmr.storage.datastore_totals import DatastoreTotal
from mmr.storage.datastores import DatastoreStore
from mmr.storage.last_access import LastAccessStore
from mmr.storage.media import MediaRecord, MediaStore
from mmr.storage.object_deletes import ObjectDeleteStore
from mmr.storage.objects import ObjectName, find_with_hash_txn
from mmr.types import Mxc

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase, media_record

_HASH = "a" * 64


class MediaTests(StorageTestCase):
    async def prepare(self) -> tuple[Database, MediaStore]:
        db = await self.open()
        return db, MediaStore(db)

    async def insert(self, db: Database, *records: MediaRecord) -> None:
        for record in records:
            await db.interaction("t", MediaStore(db).insert_media_txn, record)

    async def test_a_record_comes_back_as_it_was_inserted(self) -> None:
        db, store = await self.prepare()
        for record in media_record("a"), media_record("b", requires_auth=True):
            stored = await db.interaction("t", store.insert_media_txn, record)
            self.assertEqual(stored, record)
            found = await store.get_media("example.org", record.media_id)
            self.assertEqual(found, record)
        self.assertIsNone(await store.get_media("example.org", "other"))
        self.assertIsNone(await store.get_media("other.example", "a"))

    async def test_a_second_record_for_one_id_is_refused(self) -> None:
        """R101: no unique violation, and the first one stays as it is."""
        db, store = await self.prepare()
        records = [media_record("a", upload_name=str(n)) for n in range(10)]
        results = await DeferredList(
            [
                ensureDeferred(db.interaction("t", store.insert_media_txn, record))
                for record in records
            ],
            consumeErrors=True,
        )
        failures = [result for success, result in results if not success]
        self.assertEqual({failure.type for failure in failures}, {MediaExists})
        self.assertEqual(len(failures), 9)

    async def test_a_restriction_outlives_its_record(self) -> None:
        """D45: purged and fetched again, frozen media is still frozen."""
        db, store = await self.prepare()
        await self.insert(db, media_record("a", requires_auth=True))
        await db.interaction("t", store.delete_media_txn, "example.org", "a")
        again = await db.interaction("t", store.insert_media_txn, media_record("a"))
        self.assertTrue(again.requires_auth)
        frozen = media_record("b", requires_auth=True)
        await self.insert(db, frozen)
        await db.interaction("t", store.delete_media_txn, "example.org", "b")
        self.assertEqual(
            await db.interaction("t", store.insert_media_txn, frozen), frozen
        )

    async def test_records_are_found_by_their_content(self) -> None:
        db, store = await self.prepare()
        await self.insert(
            db,
            media_record("a"),
            media_record("b", upload_name="dog.png"),
            media_record("c", sha256_hash="c" * 64, location="other"),
        )
        found = await db.interaction("t", store.records_with_hash_txn, _HASH)
        self.assertEqual({record.media_id for record in found}, {"a", "b"})
        wanted = media_record("new", upload_name="dog.png")
        same = await db.interaction("t", store.find_identical_txn, wanted)
        assert same is not None
        self.assertEqual(same.media_id, "b")
        for change in (
            {"upload_name": "x"},
            {"content_type": "text/plain"},
            {"user_id": "@bob:example.org"},
            {"origin": "other.example"},
        ):
            wanted = media_record("new", **change)
            self.assertIsNone(
                await db.interaction("t", store.find_identical_txn, wanted)
            )
        name = await db.interaction("t", find_with_hash_txn, "c" * 64)
        self.assertEqual(name, ObjectName("main", "other"))
        self.assertIsNone(await db.interaction("t", find_with_hash_txn, "d" * 64))

    async def test_quarantine_reaches_each_record_of_the_content(self) -> None:
        """R86: but pinned ones, and it says which ones changed."""
        db, store = await self.prepare()
        await self.insert(
            db,
            media_record("a"),
            media_record("b", origin="other.example"),
            media_record("pinned"),
            media_record("c", sha256_hash="c" * 64, location="other"),
        )
        attributes = AttributeStore(db)
        await attributes.set_purpose("example.org", "pinned", Purpose.PINNED)
        quarantine = store.set_quarantined_by_hash_txn
        self.assertFalse(
            await db.interaction("t", store.is_quarantined_hash_txn, _HASH)
        )
        changed = await db.interaction("t", quarantine, _HASH, True)
        self.assertEqual(
            set(changed), {Mxc("example.org", "a"), Mxc("other.example", "b")}
        )
        self.assertTrue(await db.interaction("t", store.is_quarantined_hash_txn, _HASH))
        pinned = await store.get_media("example.org", "pinned")
        assert pinned is not None
        self.assertFalse(pinned.quarantined)
        self.assertEqual(await db.interaction("t", quarantine, _HASH, True), [])
        changed = await db.interaction(
            "t", quarantine, _HASH, False, origin="other.example"
        )
        self.assertEqual(changed, [Mxc("other.example", "b")])

    async def test_an_object_is_deleted_with_its_last_record_only(self) -> None:
        """Storage reference 4.4; R101: queued in the transaction, deleted after it."""
        db, store = await self.prepare()
        await self.insert(db, media_record("a"), media_record("b"))
        deletes, datastores = ObjectDeleteStore(db), DatastoreStore(db)
        expected = {"main": DatastoreTotal(100, 1)}
        self.assertEqual(await datastores.get_totals(), expected)
        delete = store.delete_media_txn
        self.assertTrue(await db.interaction("t", delete, "example.org", "a"))
        self.assertFalse(await db.interaction("t", delete, "example.org", "a"))
        self.assertEqual(await deletes.get_due(10), [])
        self.assertEqual(await datastores.get_totals(), expected)
        self.assertTrue(await db.interaction("t", delete, "example.org", "b"))
        name = ObjectName("main", "ab/cd/ef")
        self.assertEqual(await deletes.get_due(10), [name])
        expected = {"main": DatastoreTotal(0, 0)}
        self.assertEqual(await datastores.get_totals(), expected)
        await deletes.mark_deleted(name)
        self.assertEqual(await deletes.get_due(10), [])

    async def test_export_parts_keep_their_objects(self) -> None:
        db, store = await self.prepare()

        def add_part(txn: Transaction) -> None:
            txn.execute(
                "INSERT INTO export_parts VALUES ('e', 1, 5, 'p', 'main', 'x/y')"
            )

        in_use = store.object_in_use_txn
        self.assertFalse(await db.interaction("t", in_use, "main", "x/y"))
        await db.interaction("t", add_part)
        self.assertTrue(await db.interaction("t", in_use, "main", "x/y"))

    async def test_failed_deletes_are_tried_again_later_and_listed(self) -> None:
        db = await self.open()
        deletes, name = ObjectDeleteStore(db), ObjectName("main", "x")
        await deletes.queue_delete(name)
        await deletes.queue_delete(name)
        self.assertEqual(await deletes.get_failing(10), [])
        for _ in range(30):
            await deletes.mark_failed(name, "403 \0 Forbidden" + "x" * 1000)
        self.assertEqual(await deletes.get_due(10), [])
        [failing] = await deletes.get_failing(10)
        self.assertEqual((failing.name, failing.attempts), (name, 30))
        self.assertLess(len(failing.last_error), 600)
        await deletes.mark_deleted(name)
        await deletes.mark_failed(name, "too late")
        self.assertEqual(await deletes.get_failing(10), [])

    async def test_the_last_access_is_the_newest_one(self) -> None:
        db = await self.open()
        store = LastAccessStore(db)
        await store.touch({})
        await store.touch({f"{n:064}": 10 for n in range(450)})
        await store.touch({"0" * 64: 20, f"{1:064}": 5})
        rows = await db.fetch_all(
            "t", "SELECT last_access_ts FROM last_access ORDER BY sha256_hash"
        )
        self.assertEqual([row[0] for row in rows], [20] + [10] * 449)

    async def test_media_without_an_attribute_has_no_purpose(self) -> None:
        store = AttributeStore(await self.open())
        get = store.get_purpose
        self.assertEqual(await get("example.org", "a"), Purpose.NONE)
        await store.set_purpose("example.org", "a", Purpose.PINNED)
        self.assertEqual(await get("example.org", "a"), Purpose.PINNED)
        await store.set_purpose("example.org", "a", Purpose.NONE)
        self.assertEqual(await get("example.org", "a"), Purpose.NONE)

    async def test_ids_with_special_characters_are_only_values(self) -> None:
        """R76."""
        db, store = await self.prepare()
        for media_id in ("a'b", "a%b", "a_b", "a?b", "a\\b", "a#../b", '"', "ä"):
            await self.insert(db, media_record(media_id))
            found = await store.get_media("example.org", media_id)
            self.assertEqual(found, media_record(media_id))
        self.assertIsNone(await store.get_media("example.org", "a_c"))
        self.assertIsNone(await store.get_media("%", "a'b"))


class SqliteMediaTests(MediaTests, OnSqlite):
    __test__ = True


class PostgresMediaTests(MediaTests, OnPostgres):
    __test__ = True
