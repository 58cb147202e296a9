"""Many new media records in one transaction, with few statements."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import attrs

from mmr.storage import datastore_totals, last_access
from mmr.storage.attributes import Purpose
from mmr.storage.intents import Intent
from mmr.storage.media import REQUIRES_AUTH, MediaRecord
from mmr.storage.transaction import Transaction, placeholders
from mmr.types import Mxc

T = TypeVar("T")

# SQLite takes 32,766 values a statement; a media row has 11.
_ROWS_A_STATEMENT = 500


# All but `requires_auth`, which is in a table of its own.
_columns = operator.attrgetter(*(each.name for each in attrs.fields(MediaRecord)[:-1]))


class AdoptionStore:
    """Writes records of media that moves in. All methods run inside a transaction."""

    def lock_hashes_txn(self, txn: Transaction, hashes: Collection[str]) -> None:
        """Be the only one to add, share or delete objects with these contents."""
        txn.lock_all("sha256", hashes)

    def known_txn(self, txn: Transaction, media: Sequence[Mxc]) -> set[Mxc]:
        """Those that have a record."""
        # Row values would make SQLite read the table whole.
        marks = ",".join("?" * len(media))
        txn.execute(
            f"SELECT origin, media_id FROM media WHERE media_id IN ({marks})",  # noqa: S608
            [mxc.media_id for mxc in media],
        )
        return {Mxc(*row) for row in txn.fetchall()}.intersection(media)

    def known_hashes_txn(self, txn: Transaction, hashes: Collection[str]) -> set[str]:
        """Those contents that some record names, quarantined or not."""
        found: set[str] = set()
        marks = ",".join("?" * len(hashes))
        for table in ("media", "thumbnails"):
            txn.execute(
                f"SELECT DISTINCT sha256_hash FROM {table}"  # noqa: S608
                f" WHERE sha256_hash IN ({marks})",
                list(hashes),
            )
            found.update(row[0] for row in txn.fetchall())
        return found

    def add_intents_txn(self, txn: Transaction, intents: Iterable[Intent]) -> None:
        """Note objects that are about to become visible, in one datastore or more."""
        now_ms = txn.now_ms()
        rows = [
            (each.name.datastore_id, each.name.location, each.sha256_hash, now_ms)
            for each in intents
        ]
        _insert(
            txn,
            "mmr_object_intents (datastore_id, location, sha256_hash, since_ts)",
            rows,
        )

    def remove_intents_txn(
        self, txn: Transaction, datastore_id: str, locations: Collection[str]
    ) -> set[str]:
        """End intents. Gives the locations of those that were still there."""
        marks = ",".join("?" * len(locations))
        txn.execute(
            "DELETE FROM mmr_object_intents WHERE datastore_id = ?"  # noqa: S608
            f" AND location IN ({marks}) RETURNING location",
            [datastore_id, *locations],
        )
        return {row[0] for row in txn.fetchall()}

    def insert_txn(
        self,
        txn: Transaction,
        records: Sequence[MediaRecord],
        protected: Collection[Mxc],
        accessed: Mapping[Mxc, int],
    ) -> set[Mxc]:
        """Add records, each with an object that nothing else names.

        The caller holds the locks of their hashes.

        Args:
            protected: Those that get pinned.
            accessed: When each was last asked for, ms.

        Returns:
            What was added. An id that another process has just filled is not in it.
        """
        added: set[Mxc] = set()
        for part in _parts(records):
            groups, values = placeholders([_columns(each) for each in part])
            txn.execute(
                "INSERT INTO media (origin, media_id, upload_name,"  # noqa: S608
                " content_type, user_id, sha256_hash, size_bytes, location,"
                f" creation_ts, quarantined, datastore_id) VALUES {groups}"
                " ON CONFLICT (media_id, origin) DO NOTHING RETURNING origin, media_id",
                values,
            )
            added.update(Mxc(*row) for row in txn.fetchall())
        ours = [each for each in records if Mxc(each.origin, each.media_id) in added]
        self._count_txn(txn, ours)
        self._restrict_txn(txn, ours)
        _insert(
            txn,
            "media_attributes (origin, media_id, purpose)",
            [
                (mxc.origin, mxc.media_id, Purpose.PINNED.value)
                for mxc in added.intersection(protected)
            ],
            "ON CONFLICT (media_id, origin) DO UPDATE SET purpose = excluded.purpose",
        )
        last_access.touch_txn(
            txn,
            {
                each.sha256_hash: accessed[Mxc(each.origin, each.media_id)]
                for each in ours
            },
        )
        return added

    def _count_txn(self, txn: Transaction, records: Sequence[MediaRecord]) -> None:
        sizes: dict[str, list[int]] = {}
        for each in records:
            sizes.setdefault(each.datastore_id, []).append(each.size_bytes)
        for datastore_id, some in sorted(sizes.items()):
            datastore_totals.bump_txn(txn, datastore_id, sum(some), len(some))

    def _restrict_txn(self, txn: Transaction, records: Sequence[MediaRecord]) -> None:
        _insert(
            txn,
            "restricted_media (origin, media_id, condition_type, condition_value)",
            [
                (each.origin, each.media_id, REQUIRES_AUTH, "true")
                for each in records
                if each.requires_auth
            ],
            "ON CONFLICT (origin, media_id) DO NOTHING",
        )


def _insert(
    txn: Transaction, table: str, rows: Sequence[tuple[object, ...]], after: str = ""
) -> None:
    for part in _parts(rows):
        groups, values = placeholders(part)
        txn.execute(
            f"INSERT INTO {table} VALUES {groups} {after}",  # noqa: S608
            values,
        )


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        yield rows[start : start + _ROWS_A_STATEMENT]
