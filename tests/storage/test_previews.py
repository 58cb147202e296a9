"""Cached previews, and how they go together with their pictures."""

from __future__ import annotations

from mmr.storage import Database
from mmr.storage.attributes import AttributeStore, Purpose
from mmr.storage.object_deletes import ObjectDeleteStore
from mmr.storage.objects import ObjectName
from mmr.storage.previews import (
    HOUR_MS,
    PreviewImage,
    PreviewKey,
    PreviewRecord,
    PreviewStore,
    bucket_of,
)
from mmr.storage.stores import Stores
from mmr.storage.thumbnails import ThumbnailKey, ThumbnailRecord
from mmr.types import Method, Mxc

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase, media_record

KEY = PreviewKey("example.org", "https://site.example/", "en")
PREVIEW = PreviewRecord(
    "https://site.example/", "Site", "article", "Title", "Description"
)
IMAGE = PreviewImage(Mxc("example.org", "abc"), "image/png", 100, 30, 20)
HOUR = 500 * HOUR_MS


async def keep(
    store: PreviewStore, key: PreviewKey = KEY, hour: int = HOUR, title: str = "Title"
) -> bool:
    preview = PreviewRecord("https://site.example/", "", "", title, "")
    return await store.insert_preview(key, hour, preview)


async def keep_with_image(
    db: Database, stores: Stores, media_id: str = "abc", hour: int = HOUR
) -> None:
    """A preview with a picture of its own; all pictures share one object."""
    record = media_record(media_id, user_id="", requires_auth=True)
    image = PreviewImage(Mxc(record.origin, media_id), "image/png", 100, 30, 20)
    preview = PreviewRecord("https://site.example/", "", "", "T", "", image)
    key = PreviewKey("example.org", f"https://site.example/{media_id}", "en")
    await db.interaction("t", stores.previews.insert_preview_txn, key, hour, preview)
    await db.interaction("t", stores.media.insert_media_txn, record)


async def count(db: Database, table: str) -> int:
    row = await db.fetch_one("t", f"SELECT COUNT(*) FROM {table}")
    assert row is not None
    return int(row[0])


class PreviewTests(StorageTestCase):
    async def test_a_preview_is_found_as_it_was_kept(self) -> None:
        db = await self.open()
        store = Stores(db).previews
        self.assertTrue(await store.insert_preview(KEY, HOUR, PREVIEW))
        self.assertEqual(await store.find_preview(KEY, HOUR, HOUR), PREVIEW)

    async def test_its_picture_is_the_media_as_it_is_now(self) -> None:
        db = await self.open()
        stores = Stores(db)
        await keep_with_image(db, stores)
        key = PreviewKey("example.org", "https://site.example/abc", "en")
        found = await stores.previews.find_preview(key, HOUR, HOUR)
        assert found is not None
        self.assertEqual(found.image, IMAGE)
        quarantine = stores.media.set_quarantined_by_hash_txn
        await db.interaction("t", quarantine, "a" * 64, True)
        found = await stores.previews.find_preview(key, HOUR, HOUR)
        assert found is not None
        self.assertIsNone(found.image)

    async def test_language_homeserver_and_hour_are_part_of_the_key(self) -> None:
        """D46."""
        store = Stores(await self.open()).previews
        german = PreviewKey(KEY.origin, KEY.url, "de")
        other = PreviewKey("other.example", KEY.url, "en")
        for key, title in ((KEY, "en"), (german, "de"), (other, "other")):
            self.assertTrue(await keep(store, key, title=title))
        self.assertTrue(await keep(store, hour=HOUR + HOUR_MS, title="later"))
        for key, hour, title in (
            (KEY, HOUR, "en"),
            (german, HOUR, "de"),
            (other, HOUR, "other"),
            (KEY, HOUR + HOUR_MS, "later"),
        ):
            found = await store.find_preview(key, hour, hour)
            assert found is not None
            self.assertEqual(found.title, title)

    async def test_the_wanted_hour_comes_before_the_latest(self) -> None:
        store = Stores(await self.open()).previews
        await keep(store, hour=HOUR, title="wanted")
        await keep(store, hour=HOUR + 5 * HOUR_MS, title="latest")
        for wanted, title in ((HOUR, "wanted"), (HOUR - HOUR_MS, "latest")):
            found = await store.find_preview(KEY, wanted, HOUR + 5 * HOUR_MS)
            assert found is not None
            self.assertEqual(found.title, title)
        self.assertIsNone(await store.find_preview(KEY, HOUR - 1, HOUR - 1))

    async def test_the_first_of_two_stays(self) -> None:
        store = Stores(await self.open()).previews
        self.assertTrue(await keep(store, title="first"))
        self.assertFalse(await keep(store, title="second"))
        found = await store.find_preview(KEY, HOUR, HOUR)
        assert found is not None
        self.assertEqual(found.title, "first")

    async def test_a_url_may_be_longer_than_an_index_takes(self) -> None:
        store = Stores(await self.open()).previews
        url = "https://site.example/" + "".join(f"%{n % 256:02x}" for n in range(9999))
        self.assertTrue(await keep(store, PreviewKey("example.org", url, "en")))

    async def test_hours_begin_where_mmrs_do(self) -> None:
        self.assertEqual(bucket_of(3 * HOUR_MS + 1), 3 * HOUR_MS)
        self.assertEqual(bucket_of(3 * HOUR_MS), 3 * HOUR_MS)
        self.assertEqual(bucket_of(-1), -HOUR_MS)


class ExpiryTests(StorageTestCase):
    async def test_old_previews_without_pictures_go_and_mmrs_own(self) -> None:
        db = await self.open()
        store = Stores(db).previews
        for hours in (0, 1, 2):
            await keep(store, hour=HOUR + hours * HOUR_MS)
        await db.interaction(
            "t",
            lambda txn: txn.execute(
                "INSERT INTO url_previews VALUES"
                f" ('u', '', {HOUR}, '', '', '', '', '', '', '', 0, 0, 0, 'en')"
            ),
        )
        self.assertEqual(await store.count_around(HOUR + HOUR_MS, 10), (2, 1))
        for method, counts in (
            (store.delete_old_without_image, [1, 1, 0]),
            (store.delete_old_of_mmr, [1, 0]),
        ):
            self.assertEqual([await method(HOUR + HOUR_MS, 1) for _ in counts], counts)
        self.assertEqual(await count(db, "mmr_url_previews"), 1)
        self.assertEqual(await count(db, "url_previews"), 0)

    async def test_a_picture_goes_with_its_preview_and_all_that_hangs_on_it(
        self,
    ) -> None:
        db = await self.open()
        stores = Stores(db)
        await keep_with_image(db, stores)
        thumbnail = ThumbnailRecord(
            ThumbnailKey("example.org", "abc", 96, 96, Method.CROP, False),
            "image/png", 3, "th/um/b", 0, "b" * 64, "main",
        )  # fmt: skip
        insert = stores.thumbnails.insert_thumbnail_txn
        await db.interaction("t", insert, thumbnail)
        [old] = await stores.previews.get_old_with_image(HOUR, 10)
        await stores.previews.delete_with_image(old)
        for table in ("mmr_url_previews", "media", "thumbnails", "restricted_media"):
            self.assertEqual(await count(db, table), 0, table)
        self.assertEqual(
            set(await ObjectDeleteStore(db).get_due(10)),
            {ObjectName("main", "ab/cd/ef"), ObjectName("main", "th/um/b")},
        )
        totals = await stores.datastores.get_totals()
        self.assertEqual(totals["main"].objects, 0)

    async def test_an_object_that_others_need_stays(self) -> None:
        db = await self.open()
        stores = Stores(db)
        await keep_with_image(db, stores, "old")
        await keep_with_image(db, stores, "new", hour=HOUR + HOUR_MS)
        [old] = await stores.previews.get_old_with_image(HOUR, 10)
        self.assertEqual(old.image.media_id, "old")
        await stores.previews.delete_with_image(old)
        self.assertEqual(await ObjectDeleteStore(db).get_due(10), [])
        self.assertIsNotNone(await stores.media.get_media("example.org", "new"))

    async def test_pinned_and_quarantined_pictures_stay(self) -> None:
        db = await self.open()
        stores = Stores(db)
        await keep_with_image(db, stores, "pinned")
        await keep_with_image(db, stores, "bad")
        await AttributeStore(db).set_purpose("example.org", "pinned", Purpose.PINNED)
        quarantine = stores.media.set_quarantined_by_hash_txn
        await db.interaction("t", quarantine, "a" * 64, True)
        for old in await stores.previews.get_old_with_image(HOUR, 10):
            await stores.previews.delete_with_image(old)
        self.assertEqual(await count(db, "mmr_url_previews"), 0)
        self.assertEqual(await count(db, "media"), 2)

    async def test_a_picture_that_is_gone_already_stops_nothing(self) -> None:
        db = await self.open()
        stores = Stores(db)
        await keep_with_image(db, stores)
        await db.interaction("t", stores.media.delete_media_txn, "example.org", "abc")
        [old] = await stores.previews.get_old_with_image(HOUR, 10)
        await stores.previews.delete_with_image(old)
        self.assertEqual(await count(db, "mmr_url_previews"), 0)


class SqlitePreviewTests(PreviewTests, OnSqlite):
    __test__ = True


class PostgresPreviewTests(PreviewTests, OnPostgres):
    __test__ = True


class SqliteExpiryTests(ExpiryTests, OnSqlite):
    __test__ = True


class PostgresExpiryTests(ExpiryTests, OnPostgres):
    __test__ = True
