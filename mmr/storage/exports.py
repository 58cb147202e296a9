"""Exports and their parts: MMR's tables, and what we know beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from mmr.storage import objects
from mmr.storage.database import Database
from mmr.storage.engines.base import Row
from mmr.storage.intents import Intent, IntentStore
from mmr.storage.objects import ObjectName
from mmr.storage.tasks import Task, TaskStore
from mmr.storage.transaction import Transaction

_CANCELLED = "the export was deleted"
_PARTS = (
    'SELECT "index", size_bytes, file_name, datastore_id, location'
    ' FROM export_parts WHERE export_id = ? ORDER BY "index"'
)


class ExportGone(Exception):
    """The export was deleted meanwhile."""


class ExportIdTaken(Exception):
    """The export id belongs to an export of something else."""


@attrs.frozen
class ExportPart:
    """One file of an export.

    Attributes:
        index: From 1.
    """

    index: int
    size_bytes: int
    file_name: str
    name: ObjectName


@attrs.frozen
class Export:
    """An export as it is now.

    Attributes:
        export_id: Who knows it may have the export: it is in no log (R49).
        entity: The user or server whose media it is.
        task_id: Who makes it; 0 when that isn't known.
        created_ts: ms since the epoch; 0 when that isn't known.
        parts: Finished parts, in order.
    """

    export_id: str = attrs.field(repr=False)
    entity: str
    task_id: int
    created_ts: int
    parts: tuple[ExportPart, ...]


@attrs.frozen
class BegunExport:
    """What a run has to know.

    Attributes:
        created_ts: ms since the epoch, by the database's clock.
        checkpoint: As the last finished part left it; empty at the start.
    """

    created_ts: int
    checkpoint: str
    parts: tuple[ExportPart, ...]


class ExportStore:
    """Tables ``exports``, ``export_parts`` and ``mmr_exports``."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._intents = IntentStore(db)
        self._tasks = TaskStore(db)

    async def create(
        self,
        export_id: str,
        entity: str,
        task: tuple[str, Mapping[str, Any]],
        now_ms: int,
    ) -> Task:
        """Add an export, and the task (name, parameters) that makes it."""

        def create_txn(txn: Transaction) -> Task:
            created = self._tasks.create_txn(txn, *task, now_ms)
            self._insert_txn(txn, export_id, entity, created.id)
            return created

        return await self._db.interaction("create_export", create_txn)

    async def begin(self, export_id: str, entity: str, task_id: int) -> BegunExport:
        """Begin to make an export, or go on with it. MMR's tasks have no rows yet.

        Raises:
            ExportIdTaken: it is an export of something else.
            ExportGone: it was deleted, which ends the task.
        """

        def begin_txn(txn: Transaction) -> BegunExport:
            txn.lock("export", export_id)
            txn.execute(
                "SELECT 1 FROM background_tasks WHERE id = ? AND end_ts > 0", (task_id,)
            )
            if txn.fetchone() is not None:
                raise ExportGone
            self._insert_txn(txn, export_id, entity, task_id)
            txn.execute(
                "SELECT e.entity, m.created_ts, m.checkpoint FROM exports AS e"
                " JOIN mmr_exports AS m ON m.export_id = e.export_id"
                " WHERE e.export_id = ?",
                (export_id,),
            )
            row = txn.fetchone()
            if row is None or row[0] != entity:
                raise ExportIdTaken
            if not row[2]:
                # What MMR had made so far: where it was, it didn't say.
                _drop_parts_txn(txn, export_id)
            return BegunExport(row[1], row[2], _parts_txn(txn, export_id))

        return await self._db.interaction("begin_export", begin_txn)

    def _insert_txn(
        self, txn: Transaction, export_id: str, entity: str, task_id: int
    ) -> None:
        txn.execute(
            "INSERT INTO exports (export_id, entity) VALUES (?, ?)"
            " ON CONFLICT (export_id) DO NOTHING",
            (export_id, entity),
        )
        txn.execute(
            "INSERT INTO mmr_exports (export_id, task_id, created_ts) VALUES (?, ?, ?)"
            " ON CONFLICT (export_id) DO NOTHING",
            (export_id, task_id, txn.now_ms()),
        )

    async def get(self, export_id: str) -> Export | None:
        """One export."""

        row = await self._db.fetch_one(
            "get_export",
            "SELECT e.entity, COALESCE(m.task_id, 0), COALESCE(m.created_ts, 0)"
            " FROM exports AS e LEFT JOIN mmr_exports AS m"
            " ON m.export_id = e.export_id WHERE e.export_id = ?",
            (export_id,),
        )
        if row is None:
            return None
        parts = await self._db.fetch_all("get_export_parts", _PARTS, (export_id,))
        return Export(export_id, row[0], row[1], row[2], _read_parts(parts))

    async def add_part(
        self, export_id: str, part: ExportPart, intent: Intent, checkpoint: str
    ) -> None:
        """Add a part whose object is visible by now, and end its intent.

        Raises:
            ExportGone: the export was deleted, or the sweep has given the object up.
        """

        def add_part_txn(txn: Transaction) -> None:
            lock_txn(txn, export_id)
            if not self._intents.remove_txn(txn, intent.name):
                raise ExportGone
            txn.execute(
                "UPDATE mmr_exports SET checkpoint = ? WHERE export_id = ?",
                (checkpoint, export_id),
            )
            txn.execute(
                'INSERT INTO export_parts (export_id, "index", size_bytes, file_name,'
                " datastore_id, location) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    export_id,
                    part.index,
                    part.size_bytes,
                    part.file_name,
                    part.name.datastore_id,
                    part.name.location,
                ),
            )
            objects.count_object_txn(txn, part.name, part.size_bytes)

        await self._db.interaction("add_export_part", add_part_txn)

    async def delete(self, export_id: str, now_ms: int) -> bool:
        """Delete an export, queue its parts, and have its task stop.

        Returns:
            Whether there was one.
        """

        def delete_txn(txn: Transaction) -> bool:
            txn.lock("export", export_id)
            txn.execute(
                "DELETE FROM mmr_exports WHERE export_id = ? RETURNING task_id",
                (export_id,),
            )
            task = txn.fetchone()
            _drop_parts_txn(txn, export_id)
            txn.execute(
                "DELETE FROM mmr_export_entries WHERE export_id = ?", (export_id,)
            )
            if task is not None and task[0]:
                self._tasks.abandon_txn(txn, task[0], now_ms, _CANCELLED)
            txn.execute("DELETE FROM exports WHERE export_id = ?", (export_id,))
            return txn.rowcount > 0

        return await self._db.interaction("delete_export", delete_txn)

    async def count_of(self, entity: str) -> tuple[int, int]:
        """How many exports of an entity there are, and when the oldest was created."""
        row = await self._db.fetch_one(
            "count_exports",
            "SELECT COUNT(*), COALESCE(MIN(m.created_ts), 0) FROM exports AS e"
            " JOIN mmr_exports AS m ON m.export_id = e.export_id WHERE e.entity = ?",
            (entity,),
        )
        assert row is not None
        return row[0], row[1]

    async def get_expired(self, age_ms: int, limit: int) -> list[Export]:
        """Some exports older than that by the database's clock, oldest first.

        The age of MMR's own counts from the first time that this is called. What MMR
        has deleted is forgotten.
        """

        def get_expired_txn(txn: Transaction) -> list[str]:
            now_ms = txn.now_ms()
            txn.execute(
                "INSERT INTO mmr_exports (export_id, task_id, created_ts)"
                " SELECT export_id, 0, ? FROM exports AS e WHERE NOT EXISTS"
                " (SELECT 1 FROM mmr_exports AS m WHERE m.export_id = e.export_id)",
                (now_ms,),
            )
            txn.execute(
                "DELETE FROM mmr_exports WHERE export_id NOT IN"
                " (SELECT export_id FROM exports) RETURNING export_id"
            )
            for gone in txn.fetchall():
                txn.execute("DELETE FROM mmr_export_entries WHERE export_id = ?", gone)
            txn.execute(
                "SELECT export_id FROM mmr_exports WHERE created_ts < ?"
                " ORDER BY created_ts LIMIT ?",
                (now_ms - age_ms, limit),
            )
            return [row[0] for row in txn.fetchall()]

        ids = await self._db.interaction("get_expired_exports", get_expired_txn)
        found = [await self.get(export_id) for export_id in ids]
        return [export for export in found if export is not None]


def lock_txn(txn: Transaction, export_id: str) -> None:
    """Keep the export from being deleted until the end of the transaction.

    Raises:
        ExportGone: it is deleted.
    """
    txn.lock("export", export_id)
    txn.execute("SELECT 1 FROM mmr_exports WHERE export_id = ?", (export_id,))
    if txn.fetchone() is None:
        raise ExportGone


def _parts_txn(txn: Transaction, export_id: str) -> tuple[ExportPart, ...]:
    txn.execute(_PARTS, (export_id,))
    return _read_parts(txn.fetchall())


def _read_parts(rows: Sequence[Row]) -> tuple[ExportPart, ...]:
    return tuple(
        ExportPart(index, size_bytes, file_name, ObjectName(*name))
        for index, size_bytes, file_name, *name in rows
    )


def _drop_parts_txn(txn: Transaction, export_id: str) -> None:
    for part in _parts_txn(txn, export_id):
        txn.execute(
            'DELETE FROM export_parts WHERE export_id = ? AND "index" = ?',
            (export_id, part.index),
        )
        objects.release_txn(txn, part.name, part.size_bytes)
