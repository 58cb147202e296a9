"""Media that an admin action is about: in an order that is always the same."""

from __future__ import annotations

from mmr.storage import Database
from mmr.storage.media import MediaStore
from mmr.storage.media_filter import MediaFilter
from mmr.storage.selection import SelectionStore
from mmr.types import Mxc

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase, media_record

_NAMES = "dacb"


class SelectionTests(StorageTestCase):
    async def begin(self) -> None:
        db: Database = await self.open()
        for number, media_id in enumerate("bdca"):
            record = media_record(media_id, creation_ts=1000 + number // 2)
            await db.interaction("t", MediaStore(db).insert_media_txn, record)
        self.selections = SelectionStore(db)

    async def walk(self, wanted: MediaFilter, limit: int) -> str:
        """The ids of all pages."""
        found, place = "", None
        while True:
            rows, place = await self.selections.page(wanted, place, limit)
            found += "".join(row.media_id for row in rows)
            if place is None:
                return found

    async def test_the_oldest_come_first_and_equals_by_id(self) -> None:
        await self.begin()
        for limit in (1, 2, 3, 100):
            found = await self.walk(MediaFilter(created_before=2000), limit)
            self.assertEqual(found, "bdac")

    async def test_named_media_come_in_the_order_of_their_names(self) -> None:
        await self.begin()
        names = tuple(Mxc("example.org", each) for each in (*_NAMES, "unknown"))
        for limit in (1, 2, 3, 100):
            found = await self.walk(MediaFilter(media=names), limit)
            self.assertEqual(found, _NAMES)


class SelectionOnSqliteTests(SelectionTests, OnSqlite):
    __test__ = True


class SelectionOnPostgresTests(SelectionTests, OnPostgres):
    __test__ = True
