"""Which datastores the records name, and how old databases named them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mmr.storage import datastore_totals
from mmr.storage.database import Database
from mmr.storage.datastore_totals import DatastoreTotal
from mmr.storage.transaction import Transaction

logger = logging.getLogger(__name__)

# Jumps from one distinct value to the next along the index: a plain DISTINCT reads all
# of ten million rows.
_DISTINCT = """
    WITH RECURSIVE ids (id) AS (
        SELECT MIN(datastore_id) FROM {table}
        UNION ALL
        SELECT (SELECT MIN(datastore_id) FROM {table} WHERE datastore_id > ids.id)
        FROM ids WHERE ids.id IS NOT NULL
    )
    SELECT id FROM ids WHERE id IS NOT NULL
"""

# MMR cut the last three segments off an absolute path (storage reference 4.1).
_SEGMENTS = 3


class DatastoreStore:
    """Totals, ids in use, and the legacy table ``datastores``."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get_totals(self) -> dict[str, DatastoreTotal]:
        """What each datastore holds, by datastore id. Read from maintained rows."""
        rows = await self._db.fetch_all(
            "get_datastore_totals",
            "SELECT datastore_id, SUM(bytes), SUM(objects) FROM mmr_datastore_totals"
            " GROUP BY datastore_id",
        )
        return {row[0]: DatastoreTotal(int(row[1]), int(row[2])) for row in rows}

    async def get_ids_in_use(self) -> set[str]:
        """The datastore ids that media, thumbnails or parts of archives name.

        The empty id stands for rows of before MMR 1.0, see
        `convert_absolute_locations`.
        """
        found: set[str] = set()
        for table in ("media", "thumbnails", "export_parts", "mmr_import_parts"):
            rows = await self._db.fetch_all(
                "get_datastore_ids_in_use", _DISTINCT.format(table=table)
            )
            found.update(row[0] for row in rows)
        return found

    async def get_ids_by_uri(self) -> dict[str, str]:
        """Datastore ids of MMR 1.2 by URI: its configuration had none."""
        rows = await self._db.fetch_all(
            "get_datastore_ids_by_uri", "SELECT uri, datastore_id FROM datastores"
        )
        return {row[0]: row[1] for row in rows}

    async def convert_absolute_locations(self, folders: Mapping[str, str]) -> int:
        """Give very old rows their datastore: ``/base/a/b/c`` becomes ``a/b/c``.

        Args:
            folders: The base folders of the configured file datastores → their ids.
                Rows of other folders are left as they are.

        Returns:
            How many rows were changed.
        """
        return await self._db.interaction(
            "convert_absolute_locations", _convert_txn, folders
        )


def _convert_txn(txn: Transaction, folders: Mapping[str, str]) -> int:
    changed = 0
    for folder, datastore_id in folders.items():
        base = folder.rstrip("/") + "/"
        for table in ("media", "thumbnails"):
            txn.execute(
                f"UPDATE {table}"  # noqa: S608
                " SET datastore_id = ?, location = SUBSTR(location, ?)"
                " WHERE datastore_id = '' AND SUBSTR(location, 1, ?) = ?"
                " AND LENGTH(location) - LENGTH(REPLACE(location, '/', '')) = ?",
                (
                    datastore_id,
                    len(base) + 1,
                    len(base),
                    base,
                    base.count("/") + _SEGMENTS - 1,
                ),
            )
            changed += txn.rowcount
    if changed:
        logger.info("Gave %d very old rows their datastore", changed)
        datastore_totals.recount_txn(txn)
    return changed
