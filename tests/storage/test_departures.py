"""Records leave page by page, with everything that is known of them."""

from __future__ import annotations

from mmr.storage import last_access
from mmr.storage.attributes import AttributeStore, Purpose
from mmr.storage.departures import Departure, DepartureStore
from mmr.storage.media import MediaStore
from mmr.types import Mxc

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase, media_record


class DepartureTests(StorageTestCase):
    async def begin(self) -> None:
        self.db = await self.open()
        self.store = DepartureStore(self.db)

    async def add(
        self, media_id: str, origin: str = "one.test", **values: object
    ) -> None:
        record = media_record(media_id=media_id, origin=origin, **values)
        media = MediaStore(self.db)
        await self.db.interaction("add", media.insert_media_txn, record)

    async def test_a_record_leaves_with_all_that_is_known(self) -> None:
        await self.begin()
        await self.add("abc", quarantined=True, requires_auth=True, creation_ts=5)
        await AttributeStore(self.db).set_purpose("one.test", "abc", Purpose.PINNED)
        record = media_record()
        times = {record.sha256_hash: 77}
        await self.db.interaction("touch", last_access.touch_txn, times)
        self.assertEqual(
            await self.store.page("one.test", None, 10),
            [
                Departure(
                    origin="one.test",
                    media_id="abc",
                    user_id=record.user_id,
                    upload_name=record.upload_name,
                    content_type=record.content_type,
                    size_bytes=record.size_bytes,
                    sha256_hash=record.sha256_hash,
                    datastore_id=record.datastore_id,
                    location=record.location,
                    creation_ts=5,
                    last_access_ts=77,
                    is_quarantined=True,
                    is_pinned=True,
                    requires_auth=True,
                )
            ],
        )

    async def test_pages_cover_each_record_once(self) -> None:
        await self.begin()
        for origin in ("one.test", "two.test"):
            for number in range(5):
                await self.add(f"media{number}", origin)
        for origin, wanted in (("one.test", 5), ("two.test", 5), (None, 10)):
            found: list[Mxc] = []
            while page := await self.store.page(
                origin, found[-1] if found else None, 3
            ):
                found += [row.mxc for row in page]
            self.assertEqual(len(found), wanted)
            self.assertEqual(len(set(found)), wanted)
            self.assertEqual(await self.store.count(origin), wanted)


class DeparturesOnSqlite(OnSqlite, DepartureTests):
    __test__ = True


class DeparturesOnPostgres(OnPostgres, DepartureTests):
    __test__ = True
