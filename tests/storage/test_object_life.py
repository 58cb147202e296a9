"""Whatever order things happen in, no object that a record uses is deleted."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from mmr.storage import Database, MediaExists, Transaction, migrations
from mmr.storage.datastore_totals import recount_txn
from mmr.storage.engines import SqliteEngine
from mmr.storage.intents import Intent, IntentStore
from mmr.storage.media import MediaStore
from mmr.storage.objects import ObjectName, find_with_hash_txn
from mmr.storage.thumbnails import ThumbnailKey, ThumbnailRecord, ThumbnailStore
from mmr.types import Method

from tests.storage.base import media_record

# The methods under test take their transaction: there is no database behind them.
_DB = cast(Database, None)
_MEDIA, _THUMBNAILS, _INTENTS = MediaStore(_DB), ThumbnailStore(_DB), IntentStore(_DB)

_steps = st.lists(
    st.tuples(
        st.sampled_from(["begin", "media", "thumbnail", "sweep", "purge", "forget"]),
        st.integers(0, 3),
        st.integers(0, 1),
    ),
    max_size=40,
)


class _House:
    """Uploads, renders, purges and sweeps, a step each, as the pipelines do them."""

    def __init__(self, txn: Transaction) -> None:
        self.txn = txn
        self.objects = 0
        self.intents: list[Intent] = []

    def begin(self, number: int, content: int) -> None:
        """An object becomes visible, its intent before it."""
        self.objects += 1
        name = ObjectName("main", f"object-{self.objects}")
        intent = Intent(name, str(content) * 64)
        _INTENTS.add_txn(self.txn, intent)
        self.intents.append(intent)

    def _commit(self, number: int) -> tuple[ObjectName, str] | None:
        """End an upload's intent; None when there is none, or the sweep was first."""
        if not self.intents:
            return None
        intent = self.intents.pop(number % len(self.intents))
        if not _INTENTS.remove_txn(self.txn, intent.name):
            return None
        known = find_with_hash_txn(self.txn, intent.sha256_hash)
        return known or intent.name, intent.sha256_hash

    def media(self, number: int, content: int) -> None:
        if committed := self._commit(number):
            record = media_record(
                str(number),
                sha256_hash=committed[1],
                location=committed[0].location,
                size_bytes=10,
            )
            try:
                _MEDIA.insert_media_txn(self.txn, record)
            except MediaExists:
                pass

    def thumbnail(self, number: int, content: int) -> None:
        if committed := self._commit(number):
            record = attrs.evolve(
                _thumbnail(number),
                sha256_hash=committed[1],
                location=committed[0].location,
            )
            _THUMBNAILS.insert_thumbnail_txn(self.txn, record)

    def sweep(self, number: int, content: int) -> None:
        """The sweep meets an intent, whether its upload still runs or not."""
        if self.intents:
            _INTENTS.sweep_txn(self.txn, self.intents[number % len(self.intents)])

    def purge(self, number: int, content: int) -> None:
        _MEDIA.delete_media_txn(self.txn, "example.org", str(number))

    def forget(self, number: int, content: int) -> None:
        key = _thumbnail(number).key
        if record := _THUMBNAILS.get_thumbnail_txn(self.txn, key):
            _THUMBNAILS.delete_thumbnail_txn(self.txn, record)

    def check(self) -> None:
        """No object that is used waits for its deletion; the totals are right."""
        query = (
            "SELECT COUNT(*) FROM mmr_object_deletes AS d WHERE EXISTS"
            " (SELECT 1 FROM {} AS u WHERE u.location = d.location)"
        )
        for table in "media", "thumbnails":
            assert self.txn.fetch_value(query.format(table)) == 0
        totals = "SELECT COALESCE(SUM({}), 0) FROM mmr_datastore_totals"
        kept = [self.txn.fetch_value(totals.format(c)) for c in ("bytes", "objects")]
        recount_txn(self.txn)
        real = [self.txn.fetch_value(totals.format(c)) for c in ("bytes", "objects")]
        assert kept == real


def _thumbnail(number: int) -> ThumbnailRecord:
    key = ThumbnailKey("example.org", "m", number, 96, Method.CROP, False)
    return ThumbnailRecord(key, "image/png", 10, "", 0, "", "main")


@settings(max_examples=60)
@given(_steps)
def test_no_object_in_use_is_queued_for_deletion(steps: list[Any]) -> None:
    """R95, R101: uploads, renders, purges and sweeps in any order."""
    with tempfile.TemporaryDirectory() as folder:
        engine = SqliteEngine(Path(folder) / "mmr.db")
        migrations.prepare(engine)
        connection = engine.connect()
        cursor = connection.cursor()
        cursor.execute(engine.begin)
        house = _House(Transaction(engine, cursor))
        for name, number, content in steps:
            getattr(house, name)(number, content)
            house.check()
        connection.close()
