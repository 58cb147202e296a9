"""Media as admins list them."""

from __future__ import annotations

from typing import Any

from mmr.storage import Database, Transaction
from mmr.storage.attributes import AttributeStore, Purpose
from mmr.storage.last_access import LastAccessStore
from mmr.storage.listing import (
    ListingStore,
    MediaOrder,
    Page,
)
from mmr.storage.media import MediaStore

from tests.storage import test_plans
from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase, media_record

ALICE = "@alice:example.org"
ALL = Page(0, 100)


def media(media_id: str, ts: int = 1000, **changes: Any) -> Any:
    letter = media_id[0]
    return media_record(
        media_id,
        sha256_hash=letter * 64,
        location=media_id,
        creation_ts=ts,
        **changes,
    )


class ListingTests(StorageTestCase):
    async def prepare(self, *records: Any) -> tuple[Database, ListingStore]:
        db = await self.open()
        for record in records:
            await db.interaction("t", MediaStore(db).insert_media_txn, record)
        return db, ListingStore(db)

    async def test_one_media_with_all_that_is_known_of_it(self) -> None:
        db, store = await self.prepare(media("a", requires_auth=True), media("b"))
        await AttributeStore(db).set_purpose("example.org", "a", Purpose.PINNED)
        await LastAccessStore(db).touch({"a" * 64: 5000})

        found = await store.get_one("example.org", "a")
        other = await store.get_one("example.org", "b")

        assert found is not None
        assert other is not None
        self.assertEqual(found.last_access_ts, 5000)
        self.assertIs(found.pinned, True)
        self.assertIs(found.requires_auth, True)
        self.assertIs(found.quarantined, False)
        self.assertIs(other.pinned, False)
        self.assertIs(other.requires_auth, False)
        self.assertIsNone(await store.get_one("other.example", "a"))

    async def test_a_users_media_by_each_order(self) -> None:
        db, store = await self.prepare(
            media("a", 3, upload_name="x", size_bytes=2, content_type="b/b"),
            media("b", 1, upload_name="y", size_bytes=3, content_type="a/a"),
            media("c", 2, upload_name="x", size_bytes=1, content_type="c/c"),
            media("d", 2, user_id="@bob:example.org"),
        )
        await LastAccessStore(db).touch({"b" * 64: 9, "c" * 64: 8, "a" * 64: 7})
        await AttributeStore(db).set_purpose("example.org", "b", Purpose.PINNED)
        await db.interaction(
            "t", MediaStore(db).set_quarantined_by_hash_txn, "c" * 64, True
        )
        for order, expected in (
            (MediaOrder.MEDIA_ID, "abc"),
            (MediaOrder.UPLOAD_NAME, "acb"),
            (MediaOrder.CREATED, "bca"),
            (MediaOrder.LAST_ACCESS, "acb"),
            (MediaOrder.SIZE, "cab"),
            (MediaOrder.TYPE, "bac"),
            (MediaOrder.QUARANTINED, "abc"),
            (MediaOrder.PINNED, "acb"),
        ):
            rows = await store.get_of_user(ALICE, order, ALL)
            self.assertEqual("".join(row.media_id for row in rows), expected, order)
        rows = await store.get_of_user(
            ALICE, MediaOrder.CREATED, Page(0, 2, descending=True)
        )
        self.assertEqual([row.media_id for row in rows], ["a", "c"])
        rows = await store.get_of_user(ALICE, MediaOrder.CREATED, Page(2, 2))
        self.assertEqual([row.media_id for row in rows], ["a"])
        self.assertEqual(await store.count_of_user(ALICE), 3)

    async def test_old_media_come_in_batches_without_the_protected(self) -> None:
        db, store = await self.prepare(
            media("a", 10, size_bytes=5),
            media("b", 10, size_bytes=6),
            media("c", 10, size_bytes=6),
            media("d", 10, size_bytes=6),
            media("e", 99, size_bytes=6),
            media("f", 10, size_bytes=6),
            media("g", 10, size_bytes=6, origin="other.org"),
            media("h", 10, size_bytes=6),
        )
        await AttributeStore(db).set_purpose("example.org", "c", Purpose.PINNED)
        await db.interaction(
            "t", MediaStore(db).set_quarantined_by_hash_txn, "d" * 64, True
        )
        await LastAccessStore(db).touch({"f" * 64: 98})

        first = await store.get_old("example.org", 98, 5, limit=1)
        rest = await store.get_old("example.org", 98, 5, after="b", limit=10)

        self.assertEqual((first, rest), (["b"], ["h"]))


class ListingPlanTests(StorageTestCase):
    def find_scans(self, txn: Transaction, sql: str, params: Any) -> list[str]:
        raise NotImplementedError

    async def test_no_list_reads_a_table_whole(self) -> None:
        """A million rows of other servers cost nothing."""
        db = await self.open()
        store, seen = ListingStore(db), {}
        execute = Transaction.execute

        def record(txn: Transaction, sql: str, params: Any = ()) -> None:
            seen.setdefault(sql, params)
            execute(txn, sql, params)

        recorder = self.patch(Transaction, "execute", record)
        await store.get_one("example.org", "a")
        await store.count_of_user(ALICE)
        await store.get_old("example.org", 5, 5)
        for media_order in MediaOrder:
            await store.get_of_user(ALICE, media_order, ALL)
        recorder.restore()
        for sql, params in seen.items():
            scans = await db.interaction("t", self.find_scans, sql, params)
            self.assertEqual(scans, [], sql)


class SqliteListingTests(ListingTests, OnSqlite):
    __test__ = True


class PostgresListingTests(ListingTests, OnPostgres):
    __test__ = True


class SqliteListingPlanTests(ListingPlanTests, OnSqlite):
    __test__ = True
    find_scans = test_plans.SqlitePlanTests.find_scans


class PostgresListingPlanTests(ListingPlanTests, OnPostgres):
    __test__ = True
    find_scans = test_plans.PostgresPlanTests.find_scans
