"""Every query that a request waits for uses an index (design §7)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import attrs

from mmr.storage import Database, Transaction
from mmr.storage.adoption import AdoptionStore
from mmr.storage.attributes import AttributeStore, Purpose
from mmr.storage.blurhashes import BlurhashStore
from mmr.storage.datastores import DatastoreStore
from mmr.storage.destinations import Destination, DestinationStore
from mmr.storage.engines.base import Params
from mmr.storage.export_entries import EntryPlace, ExportEntry, MediaPlace
from mmr.storage.exports import ExportPart
from mmr.storage.intents import Intent, IntentStore
from mmr.storage.last_access import LastAccessStore
from mmr.storage.media import MediaStore
from mmr.storage.media_filter import MediaFilter
from mmr.storage.media_ids import MediaIdStore
from mmr.storage.object_deletes import ObjectDeleteStore
from mmr.storage.objects import ObjectName, find_with_hash_txn
from mmr.storage.pending import PendingMedia, PendingStore
from mmr.storage.previews import PreviewImage, PreviewKey, PreviewRecord
from mmr.storage.quotas import QuotaLimits, QuotaStore
from mmr.storage.shadows import delete_shadows_txn
from mmr.storage.stores import Stores
from mmr.storage.thumbnails import ThumbnailKey, ThumbnailRecord, ThumbnailStore
from mmr.storage.usage import UserOrder, UserQuery
from mmr.types import Method, Mxc

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase, media_record

_USER = "@alice:example.org"
_NAME = ObjectName("main", "ab/cd/ef")
_KEY = ThumbnailKey("example.org", "abc", 96, 96, Method.CROP, False)
_THUMBNAIL = ThumbnailRecord(_KEY, "image/png", 3, "th/um/b", 0, "b" * 64, "main")


async def use_every_store(db: Database) -> None:
    """Call each method that a request waits for, and those of the frequent sweeps."""
    media, thumbnails, intents = MediaStore(db), ThumbnailStore(db), IntentStore(db)
    await media.get_media("example.org", "abc")
    await media.get_several([Mxc("example.org", "abc"), Mxc("example.org", "abd")])
    await media.is_restricted("example.org", "abc")
    await db.interaction("t", media.insert_media_txn, media_record())
    await db.interaction("t", media.is_quarantined_hash_txn, "a" * 64)
    await db.interaction("t", media.records_with_hash_txn, "a" * 64)
    await db.interaction("t", media.find_identical_txn, media_record())
    await db.interaction("t", find_with_hash_txn, "c" * 64)
    quarantine = media.set_quarantined_by_hash_txn
    await db.interaction("t", quarantine, "a" * 64, True, origin="example.org")
    await thumbnails.get_thumbnail(_KEY)
    await db.interaction("t", thumbnails.insert_thumbnail_txn, _THUMBNAIL)
    await db.interaction("t", thumbnails.get_thumbnails_of_txn, "example.org", "abc")
    await db.interaction("t", thumbnails.delete_thumbnail_txn, _THUMBNAIL)
    await thumbnails.get_older(0, 10)
    await thumbnails.count_around(0, 10)
    shadows = ("example.org",)
    await db.interaction("t", delete_shadows_txn, media, _NAME, "a" * 64, shadows)
    await BlurhashStore(db).get_blurhash("a" * 64)
    await intents.add(Intent(_NAME, "a" * 64))
    await intents.get_old(0, 10)
    await intents.sweep(Intent(_NAME, "a" * 64))
    await _use_limits(db)
    await db.interaction("t", media.delete_media_txn, "example.org", "abc")
    await AttributeStore(db).get_purpose("example.org", "abc")
    await AttributeStore(db).set_purpose("example.org", "abc", Purpose.PINNED)
    await LastAccessStore(db).touch({"a" * 64: 1})
    deletes = ObjectDeleteStore(db)
    await deletes.get_due(10)
    await deletes.get_failing(10)
    await deletes.mark_failed(_NAME, "error")
    await deletes.mark_deleted(_NAME)
    await DatastoreStore(db).get_ids_in_use()
    destinations = DestinationStore(db)
    await destinations.save(Destination("example.org", 0, 0, 0))
    await destinations.get("example.org")
    await destinations.list_failing(10)
    await destinations.clear("example.org")
    await destinations.delete_old(0)
    await _use_public_objects(db)
    await _use_previews(db)
    await _use_exports(db)
    await _use_administration(db)
    await _use_adoption(db)


async def _use_adoption(db: Database) -> None:
    adoption, mxc = AdoptionStore(), Mxc("example.org", "moved")
    await db.interaction("t", adoption.known_txn, [mxc, mxc])
    await db.interaction("t", adoption.known_hashes_txn, {"a" * 64, "b" * 64})
    await db.interaction("t", adoption.add_intents_txn, [Intent(_NAME, "a" * 64)])
    await db.interaction("t", adoption.remove_intents_txn, "main", ["ab/cd/ef", "x"])
    record = media_record(media_id="moved")
    await db.interaction("t", adoption.insert_txn, [record], [mxc], {mxc: 7})


async def _use_administration(db: Database) -> None:
    stores, mxc = Stores(db), Mxc("example.org", "abc")
    selections = stores.selections
    ours = frozenset({"example.org"})
    for wanted in (
        MediaFilter(media=(mxc, Mxc("example.org", "other")), created_before=1),
        MediaFilter(user_id=_USER, created_before=1, has_object=True),
        MediaFilter(origin="example.org", created_before=1),
        MediaFilter(sha256_hash="a" * 64),
        MediaFilter(quarantined=True),
        MediaFilter(quarantined=True, origin="example.org"),
        MediaFilter(unused_since=1, larger_than=1, origin="example.org"),
        MediaFilter(created_before=1, foreign_to=ours, quarantined=False),
        MediaFilter(unused_since=1, foreign_to=ours),
    ):
        await selections.page(wanted, None, 10)
        await selections.get_used_outside(wanted, [_NAME, ObjectName("main", "x")])
    await selections.count_around(ours, 1, 10)
    await _use_removal(db)
    for quarantined in (True, False):
        step = stores.quarantine.step_txn
        await db.interaction("t", step, ["a" * 64], quarantined, None)
        await db.interaction("t", step, ["a" * 64], quarantined, "example.org")
    await selections.have_more_copies_than({"a" * 64, "b" * 64}, 5)
    changes = stores.quarantine_changes
    await db.interaction("t", changes.add_txn, 1, [mxc], True)
    await changes.get_last_id()
    for origin in (None, "example.org"):
        await changes.get_after(0, 10, origin)
    entry = await stores.audit.begin("@a:example.org", "purge", "x", "")
    await stores.audit.count(entry, 1)
    await stores.audit.finish(entry, 0)
    for filters in ({}, {"actor": "a"}, {"action": "a"}, {"target": "a"}):
        await stores.audit.get_page(5, 10, **filters)
    usage = stores.usage
    await usage.get_server_totals("example.org")
    await usage.get_user_totals("example.org", "", 10)
    await usage.get_totals_of("example.org", _USER)
    await usage.get_uploads_of("example.org", _USER, (0, ""), 10)
    await usage.get_uploads("example.org", (0, ""), 10)
    await usage.get_named_uploads([mxc, Mxc("example.org", "other")])
    for order in UserOrder:
        query = UserQuery(origin="example.org", from_ts=1, search_term="a", order=order)
        await usage.get_users_page(query, 0, 10)


async def _use_exports(db: Database) -> None:
    stores = Stores(db)
    exports, entries = stores.exports, stores.export_entries
    await exports.create("e", _USER, ("export_data", {}), 1)
    await exports.begin("e", _USER, 1)
    await entries.add("e", 1, 0, [ExportEntry("example.org", "abc", "a" * 64, "x")])
    await entries.get_listed("e", EntryPlace(), 10)
    await entries.is_withheld("e", 1)
    await entries.forget_behind("e", 0)
    for entity in (_USER, "example.org"):
        await entries.has_quarantined(entity)
        await entries.get_media(entity, MediaPlace(), 1, 10)
        await entries.count_media(entity, 1)
        await exports.count_of(entity)
    await exports.get("e")
    intent = Intent(ObjectName("main", "pa/rt"), "d" * 64)
    await IntentStore(db).add(intent)
    await exports.add_part("e", ExportPart(1, 10, "x", intent.name), intent, "")
    await exports.delete("e", 1)


async def _use_public_objects(db: Database) -> None:
    public = Stores(db).public_objects
    await public.get_quarantined("a" * 64)
    await public.get_media_at(_NAME)


async def _use_removal(db: Database) -> None:
    """One media that goes, with its thumbnail, and one that stays blocked."""
    stores = Stores(db)
    thumbnail = attrs.evolve(_THUMBNAIL, key=attrs.evolve(_KEY, media_id="gone"))
    await db.interaction("t", stores.thumbnails.insert_thumbnail_txn, thumbnail)
    for media_id, quarantined in (("gone", False), ("blocked", True)):
        record = media_record(
            media_id,
            quarantined=quarantined,
            location=media_id,
            sha256_hash=media_id,
        )
        await db.interaction("t", stores.media.insert_media_txn, record)
    rows, _ = await stores.selections.page(MediaFilter(origin="example.org"), None, 10)
    remove = stores.removal.remove_txn
    removed = await db.interaction("t", remove, rows, {"example.org"})
    assert removed.thumbnails == 1


async def _use_previews(db: Database) -> None:
    previews = Stores(db).previews
    key = PreviewKey("example.org", "https://site.example/", "en")
    image = PreviewImage(Mxc("example.org", "abc"), "image/png", 1, 1, 1)
    preview = PreviewRecord("", "", "", "", "", image)
    await previews.insert_preview(key, 0, preview)
    await previews.find_preview(key, 0, 3_600_000)
    await previews.count_around(0, 10)
    [old] = await previews.get_old_with_image(0, 10)
    await previews.delete_with_image(old)


async def _use_limits(db: Database) -> None:
    pending, quotas, ids = PendingStore(db), QuotaStore(db), MediaIdStore(db)
    await quotas.reserve("r", _USER, 10, QuotaLimits(100, 10))
    await quotas.release("r")
    await quotas.delete_old(0)
    await quotas.get_usage(_USER)
    reserved = PendingMedia("example.org", "new", _USER, 1)
    await db.interaction("t", pending.reserve_txn, reserved, 10, 0)
    await pending.get_pending("example.org", "new")
    await pending.count_of_user(_USER, 0)
    await pending.end("example.org", "new")
    await pending.count_around(0, 10)
    await pending.end_expired(0)
    await pending.delete_ended(0)
    await db.interaction("t", pending.delete_txn, "example.org", "new")
    await db.interaction("t", ids.hold_txn, "example.org", "new2", 0)
    await db.interaction("t", ids.reserve_txn, "example.org", "new", "purged")


class PlanTests(StorageTestCase):
    async def test_no_query_reads_a_table_whole(self) -> None:
        db = await self.open()
        seen: dict[str, Params] = {}
        execute = Transaction.execute

        def record(txn: Transaction, sql: str, params: Params = ()) -> None:
            if re.match(r"\s*(SELECT|UPDATE|DELETE|WITH)\b", sql):
                seen.setdefault(sql, params)
            execute(txn, sql, params)

        recorder = self.patch(Transaction, "execute", record)
        await use_every_store(db)
        recorder.restore()
        self.assertGreater(len(seen), 25)
        for sql, params in seen.items():
            scans = await db.interaction("t", self.find_scans, sql, params)
            self.assertEqual(scans, [], sql)

    async def test_a_query_without_an_index_would_be_noticed(self) -> None:
        db = await self.open()
        for sql in (
            "SELECT * FROM media WHERE upload_name = ?",
            "SELECT COUNT(*) FROM media WHERE content_type = ?",
            "DELETE FROM media_id_hold WHERE held_ts < 0 AND reason = ?",
        ):
            scans = await db.interaction("t", self.find_scans, sql, ("x",))
            self.assertNotEqual(scans, [], sql)

    def find_scans(self, txn: Transaction, sql: str, params: Params) -> list[str]:
        """The steps of the query's plan that read a table or an index whole."""
        raise NotImplementedError


class SqlitePlanTests(PlanTests, OnSqlite):
    __test__ = True

    def find_scans(self, txn: Transaction, sql: str, params: Params) -> list[str]:
        txn.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        # `ids` is the recursion's own queue, the rest limited lists.
        lists = "CONSTANT ROWS?|ids|older|newer|own|page|users"
        harmless = re.compile(rf"SCAN ([0-9]+ )?({lists})\Z")
        steps = [row[3] for row in txn.fetchall()]
        return [s for s in steps if s.startswith("SCAN") and not harmless.match(s)]


class PostgresPlanTests(PlanTests, OnPostgres):
    __test__ = True

    def find_scans(self, txn: Transaction, sql: str, params: Params) -> list[str]:
        # The tables are empty: scanning them is cheapest. Where an index can be used
        # it now is; where none can, the scan shows.
        txn.execute("SET LOCAL enable_seqscan = off")
        txn.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
        row = txn.fetchone()
        assert row is not None
        return list(_scans(row[0][0]["Plan"]))


def _scans(node: dict[str, Any]) -> Iterator[str]:
    kind = node["Node Type"]
    if kind == "Seq Scan" or ("Index Name" in node and "Index Cond" not in node):
        yield f"{kind} on {node.get('Relation Name')}"
    for child in node.get("Plans", ()):
        yield from _scans(child)
