"""Thumbnails that are too old go, and so do their objects (D43, D44)."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from twisted.internet.task import Clock as FakeTime

from mmr.cache.records import RecordCache
from mmr.media import expiry, patience
from mmr.media.expiry import BlurhashExpiry, ThumbnailExpiry
from mmr.storage import Database
from mmr.storage.attributes import AttributeStore, Purpose
from mmr.storage.blurhashes import BlurhashStore
from mmr.storage.datastores import DatastoreStore
from mmr.storage.media import MediaRecord, MediaStore
from mmr.storage.object_deletes import ObjectDeleteStore
from mmr.storage.thumbnails import ThumbnailKey, ThumbnailRecord, ThumbnailStore
from mmr.types import Method, Mxc
from mmr.util.clock import Clock

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase, media_record

DAY = 24 * 3600
NOW = 1000 * DAY
OLD, YOUNG = (NOW - 31 * DAY) * 1000, (NOW - 29 * DAY) * 1000


def thumbnail(media_id: str, made: int = OLD, **changes: object) -> ThumbnailRecord:
    record = ThumbnailRecord(
        key=ThumbnailKey("example.org", media_id, 96, 96, Method.CROP, False),
        content_type="image/png",
        size_bytes=30,
        location=f"th/um/{media_id}",
        creation_ts=made,
        sha256_hash="b" * 64,
        datastore_id="main",
    )
    return attrs.evolve(record, **changes)  # type: ignore[arg-type]


def shadow_of(record: ThumbnailRecord, media_id: str = "shadow") -> MediaRecord:
    """What MMR writes beside a thumbnail."""
    return media_record(
        media_id,
        upload_name="",
        user_id="",
        sha256_hash=record.sha256_hash,
        location=record.location,
        requires_auth=True,
    )


class ExpiryTests(StorageTestCase):
    __test__: ClassVar[bool] = False

    async def start(self, days: int = 30) -> Database:
        self.days = days
        self.time = FakeTime()
        self.time.rightNow = NOW
        self.clock = Clock(self.time)  # type: ignore[arg-type]
        self.patch(self.clock, "time_ms", lambda: int(self.time.seconds() * 1000))
        self.patch(self.clock, "monotonic", self.time.seconds)
        db = await self.open()
        self.db = db
        self.media, self.thumbnails = MediaStore(db), ThumbnailStore(db)
        self.records: RecordCache[Any, ThumbnailRecord] = RecordCache(100)
        self.expiry = ThumbnailExpiry(
            db=db,
            media=self.media,
            thumbnails=self.thumbnails,
            records=self.records,
            clock=self.clock,
            days=lambda: self.days,
            our_servers=lambda: {"example.org"},
        )
        return db

    async def add(self, *records: ThumbnailRecord | MediaRecord) -> None:
        for record in records:
            if isinstance(record, MediaRecord):
                await self.db.interaction("t", self.media.insert_media_txn, record)
            else:
                store = self.thumbnails.insert_thumbnail_txn
                await self.db.interaction("t", store, record)

    async def freed(self) -> set[str]:
        """Locations of the objects that are to be deleted."""
        due = await ObjectDeleteStore(self.db).get_due(1000)
        return {name.location for name in due}

    async def count(self, table: str) -> int:
        row = await self.db.fetch_one("t", f"SELECT COUNT(*) FROM {table}")
        assert row is not None
        return int(row[0])

    async def test_what_is_older_than_the_setting_goes(self) -> None:
        await self.start()
        await self.add(thumbnail("old"), thumbnail("young", YOUNG))

        self.assertEqual(await self.expiry.expire(), 1)

        self.assertEqual(await self.freed(), {"th/um/old"})
        left = await self.thumbnails.get_thumbnails_of("example.org", "young")
        self.assertEqual(len(left), 1)
        self.assertEqual(await self.expiry.expire(), 0)
        totals = await DatastoreStore(self.db).get_totals()
        self.assertEqual(totals["main"].objects, 1)

    async def test_nothing_goes_without_the_setting(self) -> None:
        """D44: MMR takes another section's number, and 0 makes everything old."""
        for days in (0, -1):
            await self.start(days)
            await self.add(thumbnail("old", 1))
            self.assertEqual(await self.expiry.expire(), 0)

    async def test_a_change_of_the_setting_is_in_force_at_once(self) -> None:
        await self.start(0)
        await self.add(thumbnail("old"))
        self.days = 30
        self.assertEqual(await self.expiry.expire(), 1)

    async def test_the_cache_forgets_them(self) -> None:
        await self.start()
        record = thumbnail("old")
        await self.add(record)
        key = (Mxc("example.org", "old"), record.key)
        self.records.put(key, record, self.records.start_fill())

        await self.expiry.expire()

        self.assertIsNone(self.records.get(key))

    async def test_an_object_that_is_shared_stays_for_the_others(self) -> None:
        await self.start()
        shared = thumbnail("old", location="th/um/x")
        await self.add(shared, thumbnail("young", YOUNG, location="th/um/x"))

        self.assertEqual(await self.expiry.expire(), 1)
        self.assertEqual(await self.freed(), set())

        self.time.advance(3 * DAY)
        self.assertEqual(await self.expiry.expire(), 1)
        self.assertEqual(await self.freed(), {"th/um/x"})

    async def test_an_original_that_was_its_own_thumbnail_stays(self) -> None:
        await self.start()
        original = media_record("abc", location="th/um/x", sha256_hash="b" * 64)
        await self.add(original, thumbnail("abc", location="th/um/x"))

        self.assertEqual(await self.expiry.expire(), 1)

        self.assertEqual(await self.freed(), set())
        self.assertIsNotNone(await self.media.get_media("example.org", "abc"))

    async def test_shadow_rows_go_with_their_thumbnail(self) -> None:
        """D43."""
        await self.start()
        record = thumbnail("old")
        await self.add(record, shadow_of(record), shadow_of(record, "shadow2"))

        self.assertEqual(await self.expiry.expire(), 1)

        self.assertEqual(await self.freed(), {"th/um/old"})
        self.assertEqual(await self.count("media"), 0)
        self.assertEqual(await self.count("restricted_media"), 0)

    async def test_shadow_rows_stay_while_a_thumbnail_needs_the_object(self) -> None:
        await self.start()
        record = thumbnail("old", location="th/um/x")
        await self.add(
            record, thumbnail("young", YOUNG, location="th/um/x"), shadow_of(record)
        )

        await self.expiry.expire()

        self.assertEqual(await self.freed(), set())
        self.assertEqual(await self.count("media"), 1)

    async def test_what_may_be_real_is_no_shadow(self) -> None:
        await self.start()
        record = thumbnail("old")
        shadow = shadow_of(record)
        pinned = attrs.evolve(shadow, media_id="pinned")
        with_thumbnail = attrs.evolve(shadow, media_id="young")
        await self.add(
            record,
            attrs.evolve(shadow, media_id="a", origin="remote.example"),
            attrs.evolve(shadow, media_id="b", user_id="@alice:example.org"),
            attrs.evolve(shadow, media_id="c", upload_name="cat.png"),
            attrs.evolve(shadow, media_id="d", quarantined=True),
            pinned,
            with_thumbnail,
            thumbnail("young", YOUNG, sha256_hash="c" * 64),
        )
        attributes = AttributeStore(self.db)
        await attributes.set_purpose("example.org", "pinned", Purpose.PINNED)

        self.assertEqual(await self.expiry.expire(), 1)

        self.assertEqual(await self.count("media"), 6)
        self.assertEqual(await self.freed(), set())

    async def test_many_go_in_batches(self) -> None:
        self.patch(expiry, "_BATCH", 3)
        await self.start()
        await self.add(*(thumbnail(f"m{number}") for number in range(10)))

        self.assertEqual(await self.expiry.expire(), 10)
        self.assertEqual(len(await self.freed()), 10)

    async def test_a_run_that_would_remove_most_waits_a_day(self) -> None:
        """R100: the clock jumped ahead, perhaps."""
        self.patch(patience, "UNUSUAL_COUNT", 4)
        await self.start()
        await self.add(*(thumbnail(f"m{number}") for number in range(5)))
        await self.add(thumbnail("young", NOW * 1000))

        self.assertEqual(await self.expiry.expire(), 0)
        self.time.advance(DAY - 10)
        self.assertEqual(await self.expiry.expire(), 0)
        self.time.advance(20)
        self.assertEqual(await self.expiry.expire(), 5)

    async def test_a_clock_that_is_right_again_ends_the_wait(self) -> None:
        """R100: a year ahead, and back."""
        self.patch(patience, "UNUSUAL_COUNT", 4)
        await self.start()
        await self.add(*(thumbnail(f"m{number}", YOUNG) for number in range(8)))
        self.patch(self.clock, "time_ms", lambda: (NOW + 365 * DAY) * 1000)
        self.assertEqual(await self.expiry.expire(), 0)

        self.patch(self.clock, "time_ms", lambda: NOW * 1000)
        self.time.advance(2 * DAY)
        self.assertEqual(await self.expiry.expire(), 0)
        self.patch(self.clock, "time_ms", lambda: (NOW + 365 * DAY) * 1000)
        self.assertEqual(await self.expiry.expire(), 0)
        self.assertEqual(await self.count("thumbnails"), 8)

    async def test_many_old_among_more_young_are_usual(self) -> None:
        self.patch(patience, "UNUSUAL_COUNT", 4)
        await self.start()
        await self.add(*(thumbnail(f"m{number}") for number in range(5)))
        await self.add(*(thumbnail(f"y{number}", YOUNG) for number in range(6)))

        self.assertEqual(await self.expiry.expire(), 5)

    async def test_blurhashes_go_with_the_last_media_of_their_content(self) -> None:
        await self.start()
        store = BlurhashStore(self.db)
        await self.add(media_record("abc", sha256_hash="a" * 64))
        for letter in "abc":
            await store.put_blurhash(letter * 64, f"LwHCv3{letter}")
        await store.put_blurhash("a" * 64, "another")

        await BlurhashExpiry(store).expire()

        self.assertEqual(await store.get_blurhash("a" * 64), "LwHCv3a")
        self.assertIsNone(await store.get_blurhash("b" * 64))
        self.assertEqual(await self.count("mmr_blurhashes"), 1)


class SqliteExpiryTests(ExpiryTests, OnSqlite):
    __test__ = True


class PostgresExpiryTests(ExpiryTests, OnPostgres):
    __test__ = True
