"""How much each datastore holds, kept up to date instead of counted (design §7)."""

from __future__ import annotations

import random

import attrs

from mmr.storage.transaction import Transaction

_SLOTS = 16

_RECOUNT = """
    INSERT INTO mmr_datastore_totals (datastore_id, slot, bytes, objects)
    SELECT datastore_id, 0, SUM(size_bytes), COUNT(*) FROM (
        SELECT datastore_id, location, MAX(size_bytes) AS size_bytes FROM (
            SELECT datastore_id, location, size_bytes FROM media
            UNION ALL
            SELECT datastore_id, location, size_bytes FROM thumbnails
            UNION ALL
            SELECT datastore_id, location, size_bytes FROM export_parts
        ) AS referring
        GROUP BY datastore_id, location
    ) AS objects
    GROUP BY datastore_id
"""


@attrs.frozen
class DatastoreTotal:
    """What one datastore holds.

    Attributes:
        size_bytes: Of its objects, each counted once.
        objects: How many there are.
    """

    size_bytes: int
    objects: int


def bump_txn(
    txn: Transaction, datastore_id: str, size_bytes: int, objects: int
) -> None:
    """Add to a datastore's total; negative numbers subtract."""
    txn.execute(
        "INSERT INTO mmr_datastore_totals (datastore_id, slot, bytes, objects)"
        " VALUES (?, ?, ?, ?) ON CONFLICT (datastore_id, slot) DO UPDATE SET"
        " bytes = mmr_datastore_totals.bytes + excluded.bytes,"
        " objects = mmr_datastore_totals.objects + excluded.objects",
        (datastore_id, random.randrange(_SLOTS), size_bytes, objects),
    )


def recount_txn(txn: Transaction) -> None:
    """Count everything anew. Reads all tables whole: for adoption and repair only."""
    txn.execute("DELETE FROM mmr_datastore_totals")
    txn.execute(_RECOUNT)
