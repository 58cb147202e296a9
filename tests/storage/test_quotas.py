"""Quotas, pending ids and fresh ids under concurrency (R81)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import ensureDeferred, gatherResults

from mmr.storage import Database, Transaction
from mmr.storage.media import MediaStore
from mmr.storage.media_ids import MediaIdStore
from mmr.storage.pending import PendingMedia, PendingStore
from mmr.storage.quotas import QuotaLimits, QuotaStore, Usage

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase, media_record

_ALICE = "@alice:example.org"
_DAY_MS = 24 * 3600 * 1000


async def at_once(*jobs: Coroutine[Any, Any, Any]) -> list[Any]:
    """Start all, wait for all."""
    results: list[Any] = await gatherResults([ensureDeferred(job) for job in jobs])
    return results


class QuotaTests(StorageTestCase):
    async def test_a_quota_for_three_admits_three_of_fifty(self) -> None:
        """R81: over two processes."""
        stores = [QuotaStore(await self.open()), QuotaStore(await self.open())]
        for user, limits in (
            ("@bytes:x", QuotaLimits(max_bytes=399)),
            ("@files:x", QuotaLimits(max_files=3)),
        ):
            results = await at_once(
                *(
                    stores[n % 2].reserve(f"{user}{n}", user, 100, limits)
                    for n in range(50)
                )
            )
            self.assertEqual(sum(results), 3)

    async def test_a_reservation_grows_with_its_body_up_to_the_limit(self) -> None:
        quotas = QuotaStore(await self.open())
        limits = QuotaLimits(max_bytes=1000, max_files=2)
        self.assertTrue(await quotas.reserve("a", _ALICE, 400, limits))
        self.assertTrue(await quotas.reserve("b", _ALICE, 500, limits))
        self.assertTrue(await quotas.reserve("a", _ALICE, 500, limits))
        self.assertFalse(await quotas.reserve("a", _ALICE, 501, limits))
        self.assertFalse(await quotas.reserve("c", _ALICE, 0, limits))
        await quotas.release("b")
        self.assertTrue(await quotas.reserve("a", _ALICE, 1000, limits))

    async def test_zero_is_no_limit(self) -> None:
        """D52."""
        quotas = QuotaStore(await self.open())
        for n in range(5):
            reserved = await quotas.reserve(str(n), _ALICE, 10**15, QuotaLimits())
            self.assertTrue(reserved)

    async def test_an_upload_counts_once_while_it_is_committed(self) -> None:
        """Either as a reservation or as a record."""
        db = await self.open()
        quotas, media = QuotaStore(db), MediaStore(db)
        limits = QuotaLimits(max_bytes=200, max_files=2)
        self.assertTrue(await quotas.reserve("a", _ALICE, 100, limits))

        def commit(txn: Transaction) -> None:
            media.insert_media_txn(txn, media_record())
            quotas.release_txn(txn, "a")

        await db.interaction("t", commit)
        self.assertEqual(await quotas.get_usage(_ALICE), Usage(100, 1))
        self.assertEqual(await quotas.get_usage("@new:example.org"), Usage(0, 0))
        self.assertFalse(await quotas.reserve("b", _ALICE, 101, limits))
        self.assertTrue(await quotas.reserve("b", _ALICE, 100, limits))

    async def test_the_reservation_of_a_killed_process_ends(self) -> None:
        """R81: by the database's clock."""
        db = await self.open()
        quotas, limits = QuotaStore(db), QuotaLimits(max_files=1)
        await quotas.reserve("a", _ALICE, 1, limits)
        self.assertEqual(await quotas.delete_old(60_000), 0)

        def make_older(txn: Transaction) -> None:
            txn.execute("UPDATE mmr_quota_reservations SET since_ts = since_ts - 99999")

        await db.interaction("t", make_older)
        self.assertEqual(await quotas.delete_old(60_000), 1)
        self.assertTrue(await quotas.reserve("b", _ALICE, 1, limits))

    async def test_pending_ids_are_limited_for_each_user(self) -> None:
        """R81: 50 at once, over two processes."""
        databases = [await self.open(), await self.open()]

        def reserve(n: int, user: str, now: int) -> Coroutine[Any, Any, bool]:
            db = databases[n % 2]
            pending = PendingMedia("example.org", f"{user}-{n}", user, 1000)
            return db.interaction("t", PendingStore(db).reserve_txn, pending, 3, now)

        results = await at_once(*(reserve(n, _ALICE, 999) for n in range(50)))
        self.assertEqual(sum(results), 3)
        store = PendingStore(databases[0])
        self.assertEqual(await store.count_of_user(_ALICE, 1000), 3)
        self.assertEqual(await store.count_of_user(_ALICE, 1001), 0)
        self.assertTrue(await reserve(50, "@bob:example.org", 999))
        self.assertTrue(await reserve(51, _ALICE, 1001))
        self.assertEqual(await store.delete_ended(9999), 0)
        self.assertEqual(await store.end_expired(1000), 0)
        self.assertEqual(await store.end_expired(1001), 5)
        self.assertEqual(await store.count_of_user(_ALICE, 0), 0)
        self.assertEqual(await store.delete_ended(1000), 0)
        self.assertEqual(await store.delete_ended(1001), 5)

    async def test_a_pending_id_is_found_until_it_is_used(self) -> None:
        db = await self.open()
        store = PendingStore(db)
        pending = PendingMedia("example.org", "abc", _ALICE, 1000)
        await db.interaction("t", store.reserve_txn, pending, None, 0)
        self.assertEqual(await store.get_pending("example.org", "abc"), pending)
        delete = store.delete_txn
        self.assertTrue(await db.interaction("t", delete, "example.org", "abc"))
        self.assertFalse(await db.interaction("t", delete, "example.org", "abc"))
        self.assertIsNone(await store.get_pending("example.org", "abc"))

    async def test_an_id_is_issued_once(self) -> None:
        """R101: over two processes."""
        databases = [await self.open(), await self.open()]

        def hold(db: Database, media_id: str) -> Coroutine[Any, Any, bool]:
            txn = MediaIdStore(db).hold_txn
            return db.interaction("t", txn, "example.org", media_id, 0)

        results = await at_once(*(hold(databases[n % 2], "abc") for n in range(10)))
        self.assertEqual(sum(results), 1)
        db = databases[0]
        ids, media = MediaIdStore(db), MediaStore(db)
        await db.interaction("t", media.insert_media_txn, media_record("used"))
        self.assertFalse(await hold(db, "used"))
        for _ in range(2):
            await db.interaction("t", ids.reserve_txn, "example.org", "gone", "purged")
        self.assertFalse(await hold(db, "gone"))

    async def test_holds_end_after_seven_days(self) -> None:
        db = await self.open()
        ids = MediaIdStore(db)
        await db.interaction("t", ids.hold_txn, "example.org", "abc", 1000)
        self.assertEqual(await ids.delete_old_holds(1000 + 7 * _DAY_MS), 0)
        self.assertEqual(await ids.delete_old_holds(1001 + 7 * _DAY_MS), 1)


class SqliteQuotaTests(QuotaTests, OnSqlite):
    __test__ = True


class PostgresQuotaTests(QuotaTests, OnPostgres):
    __test__ = True
