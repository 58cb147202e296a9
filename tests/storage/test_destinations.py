"""Back-off of other servers in the database."""

from __future__ import annotations

import attrs

from mmr.storage.destinations import Destination, DestinationStore

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase

_FAILING = Destination("remote.example", 1_000, 2_000, 600_000)


class DestinationTests(StorageTestCase):
    async def test_a_back_off_comes_back_until_it_is_cleared(self) -> None:
        store = DestinationStore(await self.open())
        self.assertIsNone(await store.get("remote.example"))
        await store.save(_FAILING)
        self.assertEqual(await store.get("remote.example"), _FAILING)
        self.assertEqual(_FAILING.retry_ts, 602_000)
        self.assertTrue(await store.clear("remote.example"))
        self.assertFalse(await store.clear("remote.example"))
        self.assertIsNone(await store.get("remote.example"))

    async def test_the_longer_wait_counts_and_the_beginning_stays(self) -> None:
        """Two processes noticed it at once."""
        store = DestinationStore(await self.open())
        await store.save(_FAILING)
        await store.save(attrs.evolve(_FAILING, failure_ts=5, retry_interval=10))
        self.assertEqual(await store.get("remote.example"), _FAILING)
        longer = attrs.evolve(_FAILING, failure_ts=5, retry_last_ts=900_000)
        await store.save(longer)
        expected = attrs.evolve(longer, failure_ts=1_000)
        self.assertEqual(await store.get("remote.example"), expected)

    async def test_the_list_goes_on_behind_a_name(self) -> None:
        store = DestinationStore(await self.open())
        failing = [attrs.evolve(_FAILING, destination=name) for name in "abc"]
        for one in reversed(failing):
            await store.save(one)
        self.assertEqual(await store.list_failing(2), failing[:2])
        self.assertEqual(await store.list_failing(2, after="b"), failing[2:])

    async def test_servers_that_nobody_asks_any_more_are_forgotten(self) -> None:
        store = DestinationStore(await self.open())
        await store.save(_FAILING)
        await store.save(attrs.evolve(_FAILING, destination="x", retry_last_ts=9_000))
        self.assertEqual(await store.delete_old(9_000), 1)
        self.assertIsNone(await store.get("remote.example"))
        self.assertIsNotNone(await store.get("x"))


class SqliteDestinationTests(DestinationTests, OnSqlite):
    __test__ = True


class PostgresDestinationTests(DestinationTests, OnPostgres):
    __test__ = True
