"""Transactions on a database that takes many writers at once."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from mmr.storage.connections import ConnectionPool
from mmr.storage.engines.base import Connection, Engine
from mmr.storage.errors import CommitOutcomeUnknown, DatabaseUnavailable
from mmr.storage.transaction import Transaction
from mmr.util.threads import WorkerPool

logger = logging.getLogger(__name__)

R = TypeVar("R")
Job = Callable[[Transaction], R]

ATTEMPTS = 5
_MAX_PAUSE_SECONDS = 0.05


class PooledWriter:
    """Runs each transaction in a thread, on a connection of its own."""

    def __init__(
        self, engine: Engine, connections: ConnectionPool, workers: WorkerPool
    ) -> None:
        self._engine = engine
        self._connections = connections
        self._workers = workers

    async def run(self, desc: str, job: Job[R]) -> R:
        """Run the job in one transaction."""
        return await self._workers.run(self.run_blocking, desc, job)

    @property
    def waiting(self) -> int:
        """None here: they wait for the shared threads."""
        return 0

    def start(self) -> None:
        """The threads are the database's."""

    def stop(self) -> None:
        """The threads are the database's."""

    def run_blocking(self, desc: str, job: Job[R]) -> R:
        """Run the job, again when that is safe and useful (R96).

        Raises:
            CommitOutcomeUnknown: when the connection broke during COMMIT.
            DatabaseUnavailable: when no attempt got through.
        """
        for attempt in range(1, ATTEMPTS + 1):
            connection = self._connections.take()
            try:
                return self._attempt(connection, job)
            except CommitOutcomeUnknown:
                raise
            except Exception as error:
                lost = not self._engine.is_alive(connection)
                if not (lost or self._engine.is_retryable(error)):
                    raise
                logger.info("%s: attempt %d failed: %s", desc, attempt, error)
            finally:
                self._connections.give_back(connection)
            time.sleep(random.uniform(0, _MAX_PAUSE_SECONDS * attempt))
        raise DatabaseUnavailable(f"{desc} failed {ATTEMPTS} times")

    def _attempt(self, connection: Connection, job: Job[R]) -> R:
        cursor = connection.cursor()
        cursor.execute(self._engine.begin)
        try:
            result = job(Transaction(self._engine, cursor))
        except BaseException:
            if self._engine.is_alive(connection):
                cursor.execute("ROLLBACK")
            raise
        try:
            self._engine.commit(cursor)
        except BaseException as error:
            # An answer on a living connection is a clear no.
            if self._engine.is_alive(connection):
                raise
            raise CommitOutcomeUnknown(str(error)) from error
        return result
