"""Purging and quarantining much: bounded batches, exact numbers, on both engines."""

from __future__ import annotations

from typing import ClassVar

from twisted.internet.defer import Deferred, gatherResults

from mmr.media import selection as selections
from mmr.media.selection import EVERYTHING, Order

from tests.harness import ALICE, HOST
from tests.rest.admin.case import AdminCase

_COUNT = 2000


class LargeTests(AdminCase):
    async def insert_many(self) -> None:
        """Two records an object, none of which has a file."""
        values = ", ".join(f"({number})" for number in range(_COUNT))
        await self.execute(
            "INSERT INTO media SELECT ?, 'id' || c.column1, '', 'text/plain', ?,"
            " 'hash' || (c.column1 / 2), 10, 'a/b/' || (c.column1 / 2), c.column1,"
            f" FALSE, 'folder' FROM (VALUES {values}) AS c",
            (HOST, ALICE),
        )

    async def test_shared_objects_count_once_and_in_dry_runs_too(self) -> None:
        await self.insert_many()
        wanted = selections.of_user(ALICE).created_before(1001)
        dry = await self.server.purge.estimate(wanted, EVERYTHING)
        # Of the last pair one record stays, and with it the object.
        self.assertEqual((dry.media, dry.bytes), (1001, 500 * 10))
        done = await self.server.purge.run(Order(wanted, EVERYTHING, "@t"))
        self.assertEqual((done.media, done.bytes), (1001, 500 * 10))
        self.assertEqual(await self.count("media"), _COUNT - 1001)
        self.assertEqual(await self.count("mmr_object_deletes"), 500)
        self.assertEqual(await self.count("reserved_media"), 1001)

    async def test_transactions_stay_small(self) -> None:
        await self.insert_many()
        before = self.server.db.transactions
        result = await self.server.quarantine.set(
            Order(selections.of_server(HOST), EVERYTHING, "@t"), True
        )
        self.assertEqual(result.num, _COUNT)
        self.assertGreaterEqual(self.server.db.transactions - before, _COUNT / 200)
        self.assertLess(self.server.db.transactions - before, _COUNT / 20)

    async def test_two_purges_of_the_same_media_share_the_work(self) -> None:
        """No deadlock, and nothing counted twice (R101)."""
        await self.insert_many()
        results = await gatherResults(
            [
                Deferred.fromCoroutine(
                    self.server.purge.run(Order(wanted, EVERYTHING, "@t"))
                )
                for wanted in (selections.of_user(ALICE), selections.of_server(HOST))
            ]
        )
        self.assertEqual(sum(result.media for result in results), _COUNT)
        self.assertEqual(sum(result.bytes for result in results), _COUNT // 2 * 10)
        self.assertEqual(await self.count("media"), 0)


class PostgresLargeTests(LargeTests):
    engine: ClassVar[str] = "postgres"
