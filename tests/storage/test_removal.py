"""Many records removed at once: objects, totals and what stays behind."""

from __future__ import annotations

import attrs

from mmr.storage import Database
from mmr.storage.attributes import Purpose
from mmr.storage.datastores import DatastoreStore
from mmr.storage.media import MediaRecord
from mmr.storage.media_filter import MediaFilter
from mmr.storage.removal import Removed
from mmr.storage.selection import SelectedMedia
from mmr.storage.stores import Stores
from mmr.storage.thumbnails import ThumbnailKey, ThumbnailRecord
from mmr.types import Method, Mxc

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase, media_record

OURS = "example.org"
FAR = "far.example"


class RemovalTests(StorageTestCase):
    async def begin(self) -> None:
        self.db: Database = await self.open()
        self.stores = Stores(self.db)

    async def media(self, media_id: str, **changes: object) -> MediaRecord:
        """A record with an object of its own, unless told otherwise."""
        values = {"location": media_id, "sha256_hash": f"hash of {media_id}", **changes}
        record = media_record(media_id, **values)
        return await self.db.interaction(
            "t", self.stores.media.insert_media_txn, record
        )

    async def thumbnail(self, media_id: str, **changes: object) -> None:
        key = ThumbnailKey(OURS, media_id, 96, 96, Method.CROP, False)
        record = ThumbnailRecord(
            key, "image/png", 10, f"th/{media_id}", 0, f"th of {media_id}", "main"
        )
        await self.db.interaction(
            "t",
            self.stores.thumbnails.insert_thumbnail_txn,
            attrs.evolve(record, **changes),  # type: ignore[arg-type]
        )

    async def selected(self) -> list[SelectedMedia]:
        rows, _ = await self.stores.selections.page(
            MediaFilter(created_before=1 << 60), None, 100
        )
        return rows

    async def remove(self, *media: SelectedMedia) -> Removed:
        return await self.db.interaction(
            "t", self.stores.removal.remove_txn, list(media), {OURS}
        )

    async def count(self, table: str) -> int:
        row = await self.db.fetch_one("t", f"SELECT count(*) FROM {table}")
        assert row is not None
        return int(row[0])

    async def queued(self) -> set[str]:
        rows = await self.db.fetch_all("t", "SELECT location FROM mmr_object_deletes")
        return {row[0] for row in rows}

    async def held(self) -> tuple[int, int]:
        totals = (await DatastoreStore(self.db).get_totals())["main"]
        return totals.objects, totals.size_bytes

    async def test_records_thumbnails_and_objects_go_and_the_totals_agree(self) -> None:
        await self.begin()
        for media_id in ("a", "b", "c"):
            await self.media(media_id)
            await self.thumbnail(media_id)
        rows = await self.selected()
        removed = await self.remove(*rows[:2])
        self.assertEqual(
            (removed.media, removed.thumbnails, removed.bytes),
            ([Mxc(OURS, "a"), Mxc(OURS, "b")], 2, 220),
        )
        self.assertEqual(
            removed.contents, {"hash of a", "hash of b", "th of a", "th of b"}
        )
        self.assertEqual(await self.queued(), {"a", "b", "th/a", "th/b"})
        self.assertEqual(await self.held(), (2, 110))
        self.assertEqual(await self.count("media"), 1)
        self.assertEqual(await self.count("thumbnails"), 1)
        self.assertEqual(await self.count("reserved_media"), 2)
        again = await self.remove(*rows[:2])
        self.assertEqual(again, Removed())
        self.assertEqual(await self.held(), (2, 110))

    async def test_they_are_named_in_the_order_they_were_given(self) -> None:
        """Whatever index the database takes: dry runs tell the same."""
        await self.begin()
        for media_id in ("a", "b", "c", "d"):
            await self.media(media_id)
        rows = await self.selected()
        wanted = [rows[at] for at in (2, 0, 3, 1)]
        await self.stores.attributes.set_purpose(OURS, "d", Purpose.PINNED)
        removed = await self.remove(*wanted)
        self.assertEqual([mxc.media_id for mxc in removed.media], ["c", "a", "b"])

    async def test_a_shared_object_goes_with_the_last_record(self) -> None:
        await self.begin()
        for media_id in ("a", "b"):
            await self.media(media_id, location="one", sha256_hash="same")
        first, second = await self.selected()
        kept = await self.remove(first)
        self.assertEqual((kept.bytes, kept.contents), (0, set()))
        self.assertEqual(await self.queued(), set())
        gone = await self.remove(second)
        self.assertEqual((gone.bytes, gone.contents), (100, {"same"}))
        self.assertEqual(await self.queued(), {"one"})
        self.assertEqual(await self.held(), (0, 0))

    async def test_both_records_of_an_object_at_once_count_it_once(self) -> None:
        await self.begin()
        for media_id in ("a", "b"):
            await self.media(media_id, location="one", sha256_hash="same")
        removed = await self.remove(*await self.selected())
        self.assertEqual((len(removed.media), removed.bytes), (2, 100))
        self.assertEqual(await self.held(), (0, 0))

    async def test_an_original_that_is_its_own_thumbnail(self) -> None:
        await self.begin()
        record = await self.media("a")
        await self.thumbnail(
            "a",
            location=record.location,
            sha256_hash=record.sha256_hash,
            size_bytes=record.size_bytes,
        )
        removed = await self.remove(*await self.selected())
        self.assertEqual((removed.thumbnails, removed.bytes), (1, 100))
        self.assertEqual(await self.held(), (0, 0))

    async def test_what_was_pinned_or_quarantined_meanwhile(self) -> None:
        await self.begin()
        for media_id in ("free", "pinned", "bad"):
            await self.media(media_id)
        rows = await self.selected()
        await self.stores.attributes.set_purpose(OURS, "pinned", Purpose.PINNED)
        await self.db.interaction(
            "t", self.stores.media.set_quarantined_by_hash_txn, "hash of bad", True
        )
        removed = await self.remove(*rows)
        self.assertEqual(removed.pinned, [Mxc(OURS, "pinned")])
        self.assertEqual(set(removed.media), {Mxc(OURS, "free"), Mxc(OURS, "bad")})
        self.assertEqual(await self.queued(), {"free", "bad"})
        bad = await self.stores.media.get_media(OURS, "bad")
        assert bad is not None
        self.assertEqual((bad.location, bad.size_bytes), ("", 0))
        self.assertTrue(bad.quarantined)
        # Its id is taken by the record itself.
        self.assertEqual(await self.count("reserved_media"), 1)

    async def test_attributes_go_and_ids_of_others_are_not_reserved(self) -> None:
        await self.begin()
        await self.media("a", origin=FAR, user_id="")
        await self.stores.attributes.set_purpose(FAR, "a", Purpose.NONE)
        await self.remove(*await self.selected())
        self.assertEqual(await self.count("media_attributes"), 0)
        self.assertEqual(await self.count("reserved_media"), 0)

    async def test_two_ids_that_differ_in_their_server(self) -> None:
        """Pairs are pairs: not every id with every server."""
        await self.begin()
        await self.media("a", origin=OURS)
        await self.media("b", origin=FAR, user_id="")
        wanted = await self.selected()
        await self.media("a", origin=FAR, user_id="", location="x", sha256_hash="x")
        await self.media("b", origin=OURS, location="y", sha256_hash="y")
        await self.remove(*wanted)
        left = {row.mxc for row in await self.selected()}
        self.assertEqual(left, {Mxc(FAR, "a"), Mxc(OURS, "b")})

    async def test_shadow_rows_of_mmr_go_with_their_thumbnail(self) -> None:
        """D43."""
        await self.begin()
        await self.media("a")
        await self.thumbnail("a")
        await self.media(
            "shadow",
            user_id="",
            upload_name="",
            location="th/a",
            sha256_hash="th of a",
            size_bytes=10,
        )
        [original] = [row for row in await self.selected() if row.media_id == "a"]
        await self.remove(original)
        self.assertEqual(await self.count("media"), 0)
        self.assertEqual(await self.queued(), {"a", "th/a"})
        self.assertEqual(await self.held(), (0, 0))

    async def test_parts_of_exports_keep_their_object(self) -> None:
        await self.begin()
        await self.media("a")
        await self.db.interaction(
            "t",
            lambda txn: txn.execute(
                'INSERT INTO export_parts (export_id, "index", size_bytes, file_name,'
                " datastore_id, location) VALUES ('e', 1, 100, 'f', 'main', 'a')"
            ),
        )
        removed = await self.remove(*await self.selected())
        self.assertEqual((len(removed.media), removed.bytes), (1, 0))
        self.assertEqual(await self.queued(), set())


class RemovalOnSqliteTests(RemovalTests, OnSqlite):
    __test__ = True


class RemovalOnPostgresTests(RemovalTests, OnPostgres):
    __test__ = True
