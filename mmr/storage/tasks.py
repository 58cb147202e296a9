"""Background tasks: MMR's table ``background_tasks``, and how far each is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from mmr.storage.database import Database
from mmr.storage.engines.base import Row
from mmr.storage.transaction import Transaction

_MAX_ERROR_LENGTH = 500

MAX_FINISHED = 2000
"""Expiry alone makes three tasks an hour. By number: a clock may be wrong (R100)."""

_SELECT = """
    SELECT t.id, t.task, t.params, t.start_ts, t.end_ts, t.error,
        COALESCE(p.held_until_ts, 0),
        COALESCE(p.done, 0), COALESCE(p.failed, 0), COALESCE(p.total, 0),
        COALESCE(p.bytes_done, 0)
    FROM background_tasks AS t LEFT JOIN mmr_task_progress AS p ON p.task_id = t.id
"""


@attrs.frozen
class Progress:
    """How far a task is, in its own units (objects, files).

    Attributes:
        total: As far as it is known; 0 when it isn't.
    """

    done: int = 0
    failed: int = 0
    total: int = 0
    bytes_done: int = 0


@attrs.frozen
class Task:
    """One background task.

    Attributes:
        start_ts: Created at, ms since the epoch.
        end_ts: 0 while it is unfinished.
        error: Why it failed; empty else.
        held_until_ts: The process that made the task keeps it for itself until then,
            ms since the epoch.
    """

    id: int
    name: str
    params: Mapping[str, Any]
    start_ts: int
    end_ts: int
    error: str
    held_until_ts: int
    progress: Progress

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.end_ts > 0


def _task(row: Row) -> Task:
    task_id, name, params, start_ts, end_ts, error, held, *progress = row
    if isinstance(params, str):  # psycopg2 reads JSON by itself.
        params = json.loads(params)
    done = Progress(*progress)
    return Task(task_id, name, params, start_ts, end_ts, error, held, done)


class TaskStore:
    """Reads and writes tasks."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, name: str, params: Mapping[str, Any], now_ms: int) -> Task:
        """Add a task that nobody runs yet."""
        return await self._db.interaction(
            "create_task", self.create_txn, name, params, now_ms
        )

    def create_txn(
        self, txn: Transaction, name: str, params: Mapping[str, Any], now_ms: int
    ) -> Task:
        """Add a task, in the transaction that prepares its work."""
        txn.execute(
            "INSERT INTO background_tasks (task, params, start_ts, end_ts)"
            " VALUES (?, ?, ?, 0) RETURNING id",
            (name, json.dumps(params), now_ms),
        )
        row = txn.fetchone()
        assert row is not None
        return Task(row[0], name, params, now_ms, 0, "", 0, Progress())

    async def create_held(
        self,
        name: str,
        params: Mapping[str, Any],
        memo: str,
        now_ms: int,
        held_until_ms: int,
    ) -> Task:
        """Add a task that its maker does, unless that stops to report.

        Args:
            memo: What is needed to go on with it; see `get_memo`.
        """

        def create_held_txn(txn: Transaction) -> Task:
            task = self.create_txn(txn, name, params, now_ms)
            txn.execute(
                "INSERT INTO mmr_task_progress (task_id, memo, held_until_ts)"
                " VALUES (?, ?, ?)",
                (task.id, memo, held_until_ms),
            )
            return attrs.evolve(task, held_until_ts=held_until_ms)

        return await self._db.interaction("create_held_task", create_held_txn)

    async def get_memo(self, task_id: int) -> str:
        """What `create_held` was given; empty when the task has ended."""
        row = await self._db.fetch_one(
            "get_task_memo",
            "SELECT memo FROM mmr_task_progress WHERE task_id = ?",
            (task_id,),
        )
        return row[0] if row else ""

    async def get(self, task_id: int) -> Task | None:
        """One task."""
        row = await self._db.fetch_one(
            "get_task", _SELECT + "WHERE t.id = ?", (task_id,)
        )
        return _task(row) if row else None

    async def get_all(self, limit: int) -> list[Task]:
        """The newest tasks, oldest of them first."""
        rows = await self._db.fetch_all(
            "get_all_tasks", _SELECT + "ORDER BY t.id DESC LIMIT ?", (limit,)
        )
        return [_task(row) for row in reversed(rows)]

    async def get_unfinished(self, limit: int) -> list[Task]:
        """Tasks that have not ended, oldest first."""
        rows = await self._db.fetch_all(
            "get_unfinished_tasks",
            _SELECT + "WHERE t.end_ts <= 0 ORDER BY t.id LIMIT ?",
            (limit,),
        )
        return [_task(row) for row in rows]

    async def finish(self, task_id: int, now_ms: int, error: str = "") -> None:
        """End a task, with the reason when it failed. The first end counts.

        Those that have ended go when there are `MAX_FINISHED` newer ones.
        """
        await self._db.interaction(
            "finish_task", self.finish_txn, task_id, now_ms, error
        )

    def finish_txn(
        self, txn: Transaction, task_id: int, now_ms: int, error: str
    ) -> None:
        """The same, along with something else."""
        txn.execute(
            "UPDATE background_tasks SET end_ts = ?, error = ?"
            " WHERE id = ? AND end_ts <= 0",
            (now_ms, error.replace("\0", "")[:_MAX_ERROR_LENGTH], task_id),
        )
        txn.execute(
            "UPDATE mmr_task_progress SET memo = '', held_until_ts = 0"
            " WHERE task_id = ?",
            (task_id,),
        )
        _forget_older_txn(txn, task_id)

    async def report(
        self, task_id: int, progress: Progress, now_ms: int, held_until_ms: int = 0
    ) -> bool:
        """Note how far a task is.

        Returns:
            Whether it shall go on.
        """

        def report_txn(txn: Transaction) -> bool:
            txn.execute(
                "INSERT INTO mmr_task_progress"
                " (task_id, done, failed, total, bytes_done, updated_ts, held_until_ts)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (task_id) DO UPDATE SET"
                " done = excluded.done, failed = excluded.failed,"
                " total = excluded.total, bytes_done = excluded.bytes_done,"
                " updated_ts = excluded.updated_ts,"
                " held_until_ts = excluded.held_until_ts RETURNING is_cancelled",
                (task_id, *attrs.astuple(progress), now_ms, held_until_ms),
            )
            row = txn.fetchone()
            return row is not None and not row[0]

        return await self._db.interaction("report_task", report_txn)

    async def release(self, task_id: int) -> None:
        """Let others go on with a task that was held."""

        def release_txn(txn: Transaction) -> None:
            txn.execute(
                "UPDATE mmr_task_progress SET held_until_ts = 0 WHERE task_id = ?",
                (task_id,),
            )

        await self._db.interaction("release_task", release_txn)

    async def cancel(self, task_id: int) -> None:
        """Have a task stop where it is. Whoever runs it looks now and then."""
        await self._db.interaction("cancel_task", self._cancel_txn, task_id)

    def _cancel_txn(self, txn: Transaction, task_id: int) -> None:
        txn.execute(
            "INSERT INTO mmr_task_progress (task_id, is_cancelled)"
            " VALUES (?, ?) ON CONFLICT (task_id) DO UPDATE SET"
            " is_cancelled = excluded.is_cancelled",
            (task_id, True),
        )

    def abandon_txn(
        self, txn: Transaction, task_id: int, now_ms: int, error: str
    ) -> None:
        """End a task whose work has lost its object, whether it runs or waits."""
        self._cancel_txn(txn, task_id)
        self.finish_txn(txn, task_id, now_ms, error)


def _forget_older_txn(txn: Transaction, task_id: int) -> None:
    txn.execute(
        "DELETE FROM background_tasks WHERE id <= ? AND end_ts > 0 RETURNING id",
        (task_id - MAX_FINISHED,),
    )
    for row in txn.fetchall():
        txn.execute("DELETE FROM mmr_task_progress WHERE task_id = ?", row)
