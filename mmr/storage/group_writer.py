"""Transactions on a database that takes one writer at a time: they share commits."""

from __future__ import annotations

import contextvars
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from mmr.errors import unavailable
from mmr.storage.engines.sqlite import SqliteEngine
from mmr.storage.errors import CommitOutcomeUnknown, DatabaseUnavailable
from mmr.storage.pooled_writer import ATTEMPTS, Job
from mmr.storage.transaction import Transaction
from mmr.util.threads import WorkerPool

logger = logging.getLogger(__name__)

R = TypeVar("R")

_MAX_BATCH = 32


@attrs.define(eq=False)
class _Waiting:
    """A job, who waits for it, and how it went."""

    desc: str
    run: Callable[[Transaction], Any]
    result: Deferred[Any]
    outcome: Any = None


class GroupWriter:
    """One thread that commits all the jobs that wait, together.

    A durable commit waits for the disk. Jobs that arrive meanwhile are run in one
    transaction, each in its own savepoint, and share the next flush.
    """

    def __init__(
        self, engine: SqliteEngine, reactor: IReactorFromThreads, max_waiting: int
    ) -> None:
        self._engine = engine
        self._reactor = reactor
        self._max_waiting = max_waiting
        self._jobs: deque[_Waiting] = deque()
        self._workers = WorkerPool("database-writer", 1, 0, reactor)
        self._is_draining = False
        self._connection: sqlite3.Connection | None = None

    @property
    def waiting(self) -> int:
        """Jobs that no batch has taken yet."""
        return len(self._jobs)

    async def run(self, desc: str, job: Job[R]) -> R:
        """Run the job in the next batch.

        Raises:
            MatrixError: 503 when too many jobs wait already.
            CommitOutcomeUnknown: when the batch's COMMIT failed.
        """
        if len(self._jobs) >= self._max_waiting:
            raise unavailable("The server is busy (database). Try again later.")
        result: Deferred[R] = Deferred(lambda _: None)
        context = contextvars.copy_context()
        self._jobs.append(_Waiting(desc, lambda txn: context.run(job, txn), result))
        if not self._is_draining:
            self._is_draining = True
            Deferred.fromCoroutine(self._drain())
        return await result

    def start(self) -> None:
        """Accept jobs."""
        self._workers.start()

    def stop(self) -> None:
        """Finish what waits and close the connection. Blocks."""
        self._workers.stop()
        self._close()

    async def _drain(self) -> None:
        while self._jobs:
            size = min(_MAX_BATCH, len(self._jobs))
            batch = [self._jobs.popleft() for _ in range(size)]
            try:
                await self._workers.run(self._run_batches, batch)
            except BaseException:
                self._deliver(batch, Failure())
        self._is_draining = False

    def _run_batches(self, batch: list[_Waiting]) -> None:
        """Run this batch and, without going back for each, what came meanwhile."""
        while batch:
            try:
                self._run_batch(batch)
            except BaseException:
                failure = Failure()
                self._close()
                for job in batch:
                    job.outcome = failure
            self._reactor.callFromThread(self._deliver, batch)
            batch = []
            while self._jobs and len(batch) < _MAX_BATCH:
                batch.append(self._jobs.popleft())

    @staticmethod
    def _deliver(batch: list[_Waiting], failure: Failure | None = None) -> None:
        for job in batch:
            if not job.result.called:
                job.result.callback(failure or job.outcome)

    def _run_batch(self, batch: list[_Waiting]) -> None:
        """One transaction for the jobs; a failing one takes none of the others along.

        Some errors (disk full, I/O) make SQLite end the whole transaction. Then the
        job that hit the error fails and the others are run again.
        """
        left = list(batch)
        while left:
            connection = self._begin()
            broken_by = self._run_jobs(connection, left)
            if broken_by is None:
                self._commit(connection, left)
                return
            left.remove(broken_by)

    def _begin(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        for _ in range(ATTEMPTS):
            try:
                self._connection.execute(self._engine.begin)
            except sqlite3.OperationalError as error:
                if not self._engine.is_retryable(error):
                    raise
                logger.info("Another process holds the database: %s", error)
            else:
                return self._connection
        raise DatabaseUnavailable("another process keeps the database locked")

    def _run_jobs(
        self, connection: sqlite3.Connection, jobs: list[_Waiting]
    ) -> _Waiting | None:
        """Run the jobs; return the one that lost the whole transaction, if any."""
        for job in jobs:
            cursor = connection.cursor()
            cursor.execute("SAVEPOINT job")
            try:
                job.outcome = job.run(Transaction(self._engine, cursor))
            except BaseException:
                job.outcome = Failure()
                if not connection.in_transaction:
                    return job
                cursor.execute("ROLLBACK TO job")
            cursor.execute("RELEASE job")
        return None

    def _commit(self, connection: sqlite3.Connection, jobs: list[_Waiting]) -> None:
        try:
            connection.execute("COMMIT")
        except BaseException as error:
            # The frames may be in the WAL although their flush failed: whether they
            # count is decided by what happens next (R92, R96).
            logger.exception("COMMIT failed (%s)", ", ".join(job.desc for job in jobs))
            self._close()
            for job in jobs:
                if not isinstance(job.outcome, Failure):
                    unknown = CommitOutcomeUnknown(str(error))
                    unknown.__cause__ = error
                    job.outcome = Failure(unknown)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
