"""Exports in the database: parts, entries, deletion at any moment, age."""

from __future__ import annotations

from mmr.storage import Database
from mmr.storage.datastore_totals import DatastoreTotal, recount_txn
from mmr.storage.export_entries import EntryPlace, ExportEntry, MediaPlace
from mmr.storage.exports import ExportGone, ExportIdTaken, ExportPart
from mmr.storage.intents import Intent
from mmr.storage.objects import ObjectName
from mmr.storage.stores import Stores

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase, media_record

_ALICE = "@alice:example.org"
_LONG = 1 << 60
_TASK = ("export_data", {"user_id": _ALICE, "export_id": "e"})


class ExportTests(StorageTestCase):
    async def begin(self) -> None:
        self.db: Database = await self.open()
        self.stores = Stores(self.db)
        self.exports = self.stores.exports
        self.entries = self.stores.export_entries

    async def add_media(self, media_id: str, **changes: object) -> None:
        record = media_record(media_id, location=f"lo/ca/{media_id}", **changes)
        await self.db.interaction("t", self.stores.media.insert_media_txn, record)

    async def add_part(self, index: int, checkpoint: str = "") -> ObjectName:
        name = ObjectName("archive", f"pa/rt/{index}")
        intent = Intent(name, str(index) * 64)
        await self.stores.intents.add(intent)
        part = ExportPart(index, 10, f"export-part-{index}.tgz", name)
        await self.exports.add_part("e", part, intent, checkpoint)
        return name

    async def count(self, table: str) -> int:
        row = await self.db.fetch_one("t", f"SELECT COUNT(*) FROM {table}")
        assert row is not None
        return int(row[0])

    async def ids(self, entity: str, until_ts: int = _LONG) -> list[str]:
        """Walk through the media of an entity, two at a time."""
        found, place = [], MediaPlace()
        while page := await self.entries.get_media(entity, place, until_ts, 2):
            found += [media.media_id for media in page]
            last = page[-1]
            place = MediaPlace(last.creation_ts, last.media_id, last.origin)
        return found

    async def test_an_export_is_made_part_by_part(self) -> None:
        await self.begin()
        task = await self.exports.create("e", _ALICE, _TASK, 5)
        begun = await self.exports.begin("e", _ALICE, task.id)
        self.assertEqual((begun.checkpoint, begun.parts), ("", ()))
        self.assertGreater(begun.created_ts, 1_700_000_000_000)
        await self.add_part(1, "one")
        await self.add_part(2, "two")
        begun = await self.exports.begin("e", _ALICE, task.id)
        self.assertEqual(begun.checkpoint, "two")
        export = await self.exports.get("e")
        assert export is not None
        self.assertEqual((export.entity, export.task_id), (_ALICE, task.id))
        self.assertEqual([part.index for part in export.parts], [1, 2])
        totals = await self.stores.datastores.get_totals()
        self.assertEqual(totals["archive"].size_bytes, 20)
        self.assertEqual(await self.count("mmr_object_intents"), 0)
        self.assertNotIn("'e'", repr(export))

    async def test_what_mmr_had_made_of_it_is_made_anew(self) -> None:
        """Adopted in the middle of an export: MMR keeps no place to go on from."""
        await self.begin()
        await self.exports.create("e", _ALICE, _TASK, 5)
        name = await self.add_part(1)
        begun = await self.exports.begin("e", _ALICE, 99)
        self.assertEqual(begun.parts, ())
        self.assertEqual(await self.stores.object_deletes.get_due(10), [name])

    async def test_an_id_belongs_to_one_entity(self) -> None:
        await self.begin()
        await self.exports.create("e", _ALICE, _TASK, 5)
        with self.assertRaises(ExportIdTaken):
            await self.exports.begin("e", "@bob:example.org", 99)

    async def test_deleting_takes_parts_and_task_with_it(self) -> None:
        await self.begin()
        task = await self.exports.create("e", _ALICE, _TASK, 5)
        names = {await self.add_part(1), await self.add_part(2)}
        await self.entries.add("e", 1, 0, [ExportEntry("a", "b", "c", "d")])
        self.assertTrue(await self.exports.delete("e", 7))
        self.assertFalse(await self.exports.delete("e", 8))
        self.assertIsNone(await self.exports.get("e"))
        due = await self.stores.object_deletes.get_due(10)
        self.assertEqual(set(due), names)
        for table in ("export_parts", "mmr_exports", "mmr_export_entries"):
            self.assertEqual(await self.count(table), 0)
        found = await self.stores.tasks.get(task.id)
        assert found is not None
        self.assertEqual((found.end_ts, found.error), (7, "the export was deleted"))
        totals = await self.stores.datastores.get_totals()
        self.assertEqual(totals["archive"].objects, 0)

    async def test_a_part_that_comes_after_the_deletion_is_not_kept(self) -> None:
        """R101: the object is the sweep's then."""
        await self.begin()
        task = await self.exports.create("e", _ALICE, _TASK, 5)
        await self.exports.delete("e", 7)
        with self.assertRaises(ExportGone):
            await self.exports.begin("e", _ALICE, task.id)
        with self.assertRaises(ExportGone):
            await self.add_part(1)
        with self.assertRaises(ExportGone):
            await self.entries.add("e", 1, 0, [ExportEntry("a", "b", "c", "d")])
        self.assertEqual(await self.count("mmr_object_intents"), 1)
        self.assertEqual(await self.count("export_parts"), 0)

    async def test_a_part_whose_intent_was_swept_is_not_kept(self) -> None:
        """R95."""
        await self.begin()
        await self.exports.create("e", _ALICE, _TASK, 5)
        intent = Intent(ObjectName("archive", "pa/rt"), "1" * 64)
        part = ExportPart(1, 10, "export-part-1.tgz", intent.name)
        with self.assertRaises(ExportGone):
            await self.exports.add_part("e", part, intent, "")
        self.assertEqual(await self.count("export_parts"), 0)

    async def test_a_part_keeps_its_object_from_the_sweep(self) -> None:
        await self.begin()
        await self.exports.create("e", _ALICE, _TASK, 5)
        name = await self.add_part(1)
        intent = Intent(name, "1" * 64)
        await self.stores.intents.add(intent)
        self.assertFalse(await self.stores.intents.sweep(intent))

    async def test_parts_count_when_everything_is_counted_anew(self) -> None:
        """MMR's own, when its database is adopted."""
        await self.begin()
        await self.exports.create("e", _ALICE, _TASK, 5)
        await self.add_part(1)
        await self.db.interaction("t", recount_txn)
        totals = await self.stores.datastores.get_totals()
        self.assertEqual(totals["archive"], DatastoreTotal(10, 1))

    async def test_media_of_a_user_or_of_a_server_is_walked_by_age(self) -> None:
        await self.begin()
        await self.add_media("new", creation_ts=30)
        await self.add_media("old", creation_ts=10)
        await self.add_media("twin", creation_ts=10, origin="other.org")
        await self.add_media("bobs", creation_ts=20, user_id="@bob:example.org")
        self.assertEqual(await self.ids(_ALICE), ["old", "twin", "new"])
        self.assertEqual(await self.ids("example.org"), ["old", "bobs", "new"])
        self.assertEqual(await self.ids("example.org", 20), ["old", "bobs"])
        self.assertEqual(await self.entries.count_media(_ALICE, 20), (2, 200))
        self.assertEqual(await self.entries.count_media("none.org", 20), (0, 0))

    async def test_entries_are_listed_as_far_as_their_media_is_there(self) -> None:
        await self.begin()
        names = ["a", "gone", "bad", "b"]
        for name in names:
            if name != "gone":
                await self.add_media(name, quarantined=name == "bad")
        entries = [
            ExportEntry("example.org", name, "a" * 64, f"{name}.png") for name in names
        ]
        for export_id in ("e", "f"):
            await self.exports.create(export_id, _ALICE, _TASK, 5)
        await self.entries.add("e", 1, 0, entries[:3])
        await self.entries.add("e", 1, 3, [])
        await self.entries.add("e", 2, 0, entries[3:])
        await self.entries.add("f", 1, 0, entries[:1])
        found: list[tuple[str, str]] = []
        place: EntryPlace | None = EntryPlace()
        while place is not None:
            page, place = await self.entries.get_listed("e", place, 1)
            found += [(media.media_id, file_name) for media, file_name in page]
        self.assertEqual(found, [("a", "a.png"), ("b", "b.png")])
        await self.entries.forget_behind("e", 1)
        page, _ = await self.entries.get_listed("e", EntryPlace(), 10)
        self.assertEqual(len(page), 1)

    async def test_a_part_with_quarantined_media_is_withheld(self) -> None:
        """R84: by id, and by content when the media is gone."""
        await self.begin()
        await self.add_media("mine", sha256_hash="a" * 64)
        await self.add_media("copy", sha256_hash="a" * 64, origin="other.org")
        await self.exports.create("e", _ALICE, _TASK, 5)
        await self.entries.add(
            "e", 1, 0, [ExportEntry("example.org", "mine", "a" * 64, "x")]
        )
        await self.entries.add(
            "e", 2, 0, [ExportEntry("example.org", "gone", "a" * 64, "y")]
        )

        async def withheld() -> list[bool]:
            return [await self.entries.is_withheld("e", part) for part in (1, 2, 3)]

        async def quarantine(origin: str, value: bool) -> None:
            await self.db.interaction(
                "t",
                self.stores.media.set_quarantined_by_hash_txn,
                "a" * 64,
                value,
                origin=origin,
            )

        self.assertEqual(await withheld(), [False, False, False])
        await quarantine("other.org", True)
        self.assertEqual(await withheld(), [False, True, False])
        self.assertFalse(await self.entries.has_quarantined("example.org"))
        await quarantine("example.org", True)
        self.assertEqual(await withheld(), [True, True, False])
        self.assertTrue(await self.entries.has_quarantined("example.org"))
        self.assertTrue(await self.entries.has_quarantined(_ALICE))
        for origin in ("other.org", "example.org"):
            await quarantine(origin, False)
        self.assertEqual(await withheld(), [False, False, False])

    async def test_exports_age_by_the_databases_clock(self) -> None:
        """R49, R100. MMR's own begin to age when they are first seen."""
        await self.begin()
        await self.exports.create("e", _ALICE, _TASK, 5)
        await self.db.interaction(
            "t",
            lambda txn: txn.execute("INSERT INTO exports VALUES ('mmr', 'other.org')"),
        )
        self.assertEqual(await self.exports.get_expired(3_600_000, 10), [])
        self.assertEqual(await self.count("mmr_exports"), 2)
        found = await self.exports.get_expired(-1000, 10)
        self.assertEqual({e.entity for e in found}, {_ALICE, "other.org"})
        count, oldest_ts = await self.exports.count_of("other.org")
        self.assertEqual((count, oldest_ts > 0), (1, True))

    async def test_what_mmr_has_deleted_is_forgotten(self) -> None:
        await self.begin()
        await self.exports.create("e", _ALICE, _TASK, 5)
        await self.entries.add("e", 1, 0, [ExportEntry("a", "b", "c", "d")])
        await self.db.interaction("t", lambda txn: txn.execute("DELETE FROM exports"))
        await self.exports.get_expired(3_600_000, 10)
        self.assertEqual(await self.count("mmr_exports"), 0)
        self.assertEqual(await self.count("mmr_export_entries"), 0)


class SqliteExportTests(ExportTests, OnSqlite):
    __test__ = True


class PostgresExportTests(ExportTests, OnPostgres):
    __test__ = True
