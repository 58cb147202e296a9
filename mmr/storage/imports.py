"""Archives that are being imported, and the parts that wait: tables ``mmr_import…``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from mmr.storage import objects
from mmr.storage.database import Database
from mmr.storage.intents import Intent, IntentStore
from mmr.storage.objects import ObjectName
from mmr.storage.tasks import Task, TaskStore
from mmr.storage.transaction import Transaction


class ImportGone(Exception):
    """There is no such import, or it takes no parts any more."""


class TooManyImports(Exception):
    """So many imports are open, or so many parts of one wait, that there is no room."""


@attrs.frozen
class ImportPart:
    """One part that waits, or is kept for the manifest in it.

    Attributes:
        number: From 1, in the order of arrival.
        is_read: Its media was imported, as far as it can be; it is kept for whoever
            begins again.
    """

    number: int
    size_bytes: int
    name: ObjectName
    is_read: bool


@attrs.frozen
class Import:
    """An import as it is now.

    Attributes:
        import_id: Who knows it, and is an admin, may add parts: it is in no log (R49).
        idle_ms: Since the last part came, by the database's clock.
        is_closed: Nothing more comes.
        parts: Those that are still there, in order.
    """

    import_id: str = attrs.field(repr=False)
    task_id: int
    idle_ms: int
    is_closed: bool
    parts: tuple[ImportPart, ...]


class ImportStore:
    """Reads and writes imports."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._intents = IntentStore(db)
        self._tasks = TaskStore(db)

    async def create(
        self,
        import_id: str,
        part: tuple[Intent, int],
        task: tuple[str, Mapping[str, Any]],
        now_ms: int,
        most: int,
    ) -> Task:
        """Add an import with its first part, and the task that does it.

        Args:
            part: The intent of its object, which is visible by now, and the size.
            task: Name and parameters.
            most: Imports that may be open at once.

        Raises:
            TooManyImports: there are as many already.
            ImportGone: the sweep has given the object up.
        """

        def create_txn(txn: Transaction) -> Task:
            txn.lock("imports", "")
            if txn.fetch_value("SELECT COUNT(*) FROM mmr_imports") >= most:
                raise TooManyImports
            created = self._tasks.create_txn(txn, *task, now_ms)
            txn.execute(
                "INSERT INTO mmr_imports (import_id, task_id, touched_ts)"
                " VALUES (?, ?, ?)",
                (import_id, created.id, txn.now_ms()),
            )
            self._add_part_txn(txn, import_id, *part)
            return created

        return await self._db.interaction("create_import", create_txn)

    async def add_part(
        self, import_id: str, intent: Intent, size_bytes: int, most: int
    ) -> int:
        """Add a part whose object is visible by now.

        Args:
            most: Parts that may wait at once.

        Returns:
            The task that will read it.

        Raises:
            ImportGone: nothing takes it any more.
            TooManyImports: too many wait already.
        """

        def add_txn(txn: Transaction) -> int:
            txn.lock("import", import_id)
            txn.execute(
                "UPDATE mmr_imports SET touched_ts = ?"
                " WHERE import_id = ? AND NOT is_closed RETURNING task_id",
                (txn.now_ms(), import_id),
            )
            row = txn.fetchone()
            if row is None:
                raise ImportGone
            waiting = txn.fetch_value(
                "SELECT COUNT(*) FROM mmr_import_parts"
                " WHERE import_id = ? AND NOT is_read",
                (import_id,),
            )
            if waiting >= most:
                raise TooManyImports
            self._add_part_txn(txn, import_id, intent, size_bytes)
            return int(row[0])

        return await self._db.interaction("add_import_part", add_txn)

    def _add_part_txn(
        self, txn: Transaction, import_id: str, intent: Intent, size_bytes: int
    ) -> None:
        if not self._intents.remove_txn(txn, intent.name):
            raise ImportGone
        number = 1 + txn.fetch_value(
            "SELECT COALESCE(MAX(number), 0) FROM mmr_import_parts WHERE import_id = ?",
            (import_id,),
        )
        txn.execute(
            "INSERT INTO mmr_import_parts"
            " (import_id, number, size_bytes, datastore_id, location)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                import_id,
                number,
                size_bytes,
                intent.name.datastore_id,
                intent.name.location,
            ),
        )
        objects.count_object_txn(txn, intent.name, size_bytes)

    async def get(self, import_id: str) -> Import | None:
        """One import."""

        def get_txn(txn: Transaction) -> Import | None:
            txn.execute(
                "SELECT task_id, touched_ts, is_closed FROM mmr_imports"
                " WHERE import_id = ?",
                (import_id,),
            )
            row = txn.fetchone()
            if row is None:
                return None
            task_id, touched_ts, is_closed = row
            idle_ms = txn.now_ms() - touched_ts
            parts = _parts_txn(txn, import_id)
            return Import(import_id, task_id, idle_ms, bool(is_closed), parts)

        return await self._db.interaction("get_import", get_txn)

    async def close(self, import_id: str) -> int | None:
        """Let nothing more come. Gives the task; None when there is no such import."""

        def close_txn(txn: Transaction) -> int | None:
            txn.lock("import", import_id)
            txn.execute(
                "UPDATE mmr_imports SET is_closed = ? WHERE import_id = ?"
                " RETURNING task_id",
                (True, import_id),
            )
            row = txn.fetchone()
            return int(row[0]) if row else None

        return await self._db.interaction("close_import", close_txn)

    async def finish_part(self, import_id: str, number: int, *, keep: bool) -> None:
        """Note that a part was read.

        Args:
            keep: It is needed again, should the import be interrupted.
        """

        def finish_txn(txn: Transaction) -> None:
            if keep:
                txn.execute(
                    "UPDATE mmr_import_parts SET is_read = ?"
                    " WHERE import_id = ? AND number = ?",
                    (True, import_id, number),
                )
                return
            txn.execute(
                "DELETE FROM mmr_import_parts WHERE import_id = ? AND number = ?"
                " RETURNING number, size_bytes, datastore_id, location, is_read",
                (import_id, number),
            )
            _queue_txn(txn)

        await self._db.interaction("finish_import_part", finish_txn)

    async def end(self, import_id: str, now_ms: int, error: str = "") -> bool:
        """End an import and its task, and queue what is left of its parts.

        Both at once: a task that went on without its import would be a failed one.

        Args:
            error: Why it failed; nothing when the task has ended already.

        Returns:
            Whether there was one.
        """

        def end_txn(txn: Transaction) -> bool:
            txn.lock("import", import_id)
            txn.execute(
                "DELETE FROM mmr_import_parts WHERE import_id = ?"
                " RETURNING number, size_bytes, datastore_id, location, is_read",
                (import_id,),
            )
            _queue_txn(txn)
            txn.execute(
                "DELETE FROM mmr_imports WHERE import_id = ? RETURNING task_id",
                (import_id,),
            )
            row = txn.fetchone()
            if row is None:
                return False
            self._tasks.finish_txn(txn, row[0], now_ms, error)
            return True

        return await self._db.interaction("end_import", end_txn)

    async def get_abandoned(self) -> list[str]:
        """Imports whose task has ended, or is gone. There are never many imports."""
        rows = await self._db.fetch_all(
            "get_abandoned_imports",
            "SELECT import_id FROM mmr_imports AS i WHERE NOT EXISTS"
            " (SELECT 1 FROM background_tasks AS t"
            " WHERE t.id = i.task_id AND t.end_ts <= 0)",
        )
        return [row[0] for row in rows]


def _part(row: tuple[Any, ...]) -> ImportPart:
    number, size_bytes, datastore_id, location, is_read = row
    name = ObjectName(datastore_id, location)
    return ImportPart(number, size_bytes, name, bool(is_read))


def _parts_txn(txn: Transaction, import_id: str) -> tuple[ImportPart, ...]:
    txn.execute(
        "SELECT number, size_bytes, datastore_id, location, is_read"
        " FROM mmr_import_parts WHERE import_id = ? ORDER BY number",
        (import_id,),
    )
    return tuple(map(_part, txn.fetchall()))


def _queue_txn(txn: Transaction) -> None:
    """Have the objects deleted whose rows were just deleted."""
    for part in map(_part, txn.fetchall()):
        objects.uncount_object_txn(txn, part.name, part.size_bytes)
        objects.queue_delete_txn(txn, part.name)
