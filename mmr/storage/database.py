"""The way from the reactor to the database and back."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool

from mmr.config.database import DatabaseConfig
from mmr.errors import ConfigError, StartupError, unavailable
from mmr.logging import current_request
from mmr.storage import migrations
from mmr.storage.connections import ConnectionPool
from mmr.storage.engines import Engine, PostgresEngine, SqliteEngine
from mmr.storage.engines.base import Params, Row
from mmr.storage.errors import CommitOutcomeUnknown, DatabaseUnavailable
from mmr.storage.group_writer import GroupWriter
from mmr.storage.pooled_writer import PooledWriter
from mmr.storage.transaction import Transaction
from mmr.util.clock import Clock
from mmr.util.threads import WorkerPool

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_MAX_WAITING = 1000
# Reads of SQLite are answered from memory: more threads only fight over Python's lock.
_SQLITE_THREADS = 4


class Database:
    """Runs queries in database threads (design §7).

    Attributes:
        engine: What is behind it; ``engine.name`` is ``sqlite`` or ``postgres``.
        queries: Reads since the start.
        transactions: Write transactions since the start.
        busy_seconds: What callers waited for both, summed up.
    """

    def __init__(
        self,
        engine: Engine,
        reactor: IReactorThreads,
        clock: Clock,
        *,
        threads: int,
        max_idle: int,
    ) -> None:
        self.engine = engine
        self.queries = 0
        self.transactions = 0
        self.busy_seconds = 0.0
        self._reactor = reactor
        self._clock = clock
        self._is_open = False
        self._workers = WorkerPool("database", threads, _MAX_WAITING, reactor)
        self._connections = ConnectionPool(engine, max_idle)
        self._writer: PooledWriter | GroupWriter
        if isinstance(engine, SqliteEngine):
            self._writer = GroupWriter(engine, reactor, _MAX_WAITING)
        else:
            self._writer = PooledWriter(engine, self._connections, self._workers)

    @property
    def waiting(self) -> int:
        """Jobs that wait for a thread."""
        return self._workers.waiting + self._writer.waiting

    async def start(self) -> None:
        """Connect, and bring the schema up to date.

        Raises:
            StartupError: when the database can't be reached, or is not for this code.
        """
        self._workers.start()
        self._writer.start()
        self._is_open = True
        try:
            await self._workers.run(migrations.prepare, self.engine)
        except DatabaseUnavailable as error:
            await self.close()
            raise StartupError(f"The database can't be opened: {error}") from error
        except self.engine.error as error:
            await self.close()
            raise StartupError(
                f"The database's tables can't be brought up to date: {error}"
            ) from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what runs, then close the connections."""
        if self._is_open:
            self._is_open = False
            pool = self._reactor.getThreadPool()
            await deferToThreadPool(self._reactor, pool, self._stop)

    def _stop(self) -> None:
        self._writer.stop()
        self._workers.stop()
        self._connections.close()

    async def interaction(
        self,
        desc: str,
        func: Callable[Concatenate[Transaction, P], R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Run the function, in a database thread, in one durable transaction.

        The function may run more than once: it must only touch the transaction.

        Args:
            desc: A name for the log.

        Raises:
            MatrixError: 503 when the database doesn't answer or too much work waits.
            CommitOutcomeUnknown: when the connection broke during COMMIT (R96).
        """
        self.transactions += 1

        def job(txn: Transaction) -> R:
            return func(txn, *args, **kwargs)

        return await self._measured(desc, lambda: self._writer.run(desc, job))

    async def fetch_one(self, desc: str, sql: str, params: Params = ()) -> Row | None:
        """The first row of one query, or None. No transaction.

        Raises:
            MatrixError: 503 when the database doesn't answer or too much work waits.
        """
        self.queries += 1
        fetch = Transaction.fetchone
        return await self._measured(
            desc, lambda: self._workers.run(self._read, fetch, sql, params)
        )

    async def fetch_all(self, desc: str, sql: str, params: Params = ()) -> list[Row]:
        """All rows of one query. No transaction.

        Raises:
            MatrixError: 503 when the database doesn't answer or too much work waits.
        """
        self.queries += 1
        fetch = Transaction.fetchall
        return await self._measured(
            desc, lambda: self._workers.run(self._read, fetch, sql, params)
        )

    async def ping(self) -> None:
        """Return when the database answers.

        Raises:
            MatrixError: 503 when it doesn't.
        """
        await self.fetch_one("ping", "SELECT 1")

    async def probe(self) -> None:
        """Return when a change, which leaves nothing, is durable.

        Raises:
            MatrixError: 503 when the database takes no changes: away, full, read-only.
        """
        try:
            await self.interaction("probe", _change_nothing_txn)
        except self.engine.error as error:
            logger.warning("The database takes no changes: %s", str(error).strip())
            raise unavailable("The database takes no changes.") from error

    async def _measured(self, desc: str, run: Callable[[], Awaitable[R]]) -> R:
        if not self._is_open:
            raise unavailable("The server is stopping.")
        started = self._clock.monotonic()
        try:
            return await run()
        except DatabaseUnavailable as error:
            logger.warning("%s: the database does not answer: %s", desc, error)
            raise unavailable("The database does not answer.") from error
        except self.engine.error as error:
            if not self.engine.is_out_of_order(error):
                raise
            logger.error(
                "%s: the database is out of order: %s. Free space on its disk; its log"
                " may say more.",
                desc,
                str(error).strip(),
            )
            raise unavailable("The database takes no changes.") from error
        except CommitOutcomeUnknown as error:
            logger.warning("%s: unknown whether it was committed: %s", desc, error)
            raise
        finally:
            elapsed = self._clock.monotonic() - started
            self.busy_seconds += elapsed
            asker = current_request()
            if asker is not None:
                asker.db_count += 1
                asker.db_seconds += elapsed

    def _read(self, fetch: Callable[[Transaction], R], sql: str, params: Params) -> R:
        """Run one read. A broken connection may be an old one: try once more (R96)."""
        for _ in range(2):
            connection = self._connections.take()
            try:
                txn = Transaction(self.engine, connection.cursor())
                txn.execute(sql, params)
                return fetch(txn)
            except Exception as error:
                if self.engine.is_alive(connection):
                    raise
                lost = error
            finally:
                self._connections.give_back(connection)
        raise DatabaseUnavailable(str(lost).strip()) from lost


def _change_nothing_txn(txn: Transaction) -> None:
    # SQLite doesn't write what an UPDATE leaves as it was.
    txn.execute("INSERT INTO mmr_schema_version (version, applied_ts) VALUES (-1, 0)")
    txn.execute("DELETE FROM mmr_schema_version WHERE version = -1")


def open_database(
    options: DatabaseConfig, reactor: IReactorThreads, clock: Clock
) -> Database:
    """The database that the configuration names. No I/O happens before `start`.

    Raises:
        ConfigError: when it names none, or one that can't be understood.
    """
    if options.postgres:
        threads = options.pool.max_connections
        return Database(
            PostgresEngine(options.postgres),
            reactor,
            clock,
            threads=threads,
            max_idle=min(threads, options.pool.max_idle_connections),
        )
    if options.sqlite is None:
        raise ConfigError("expected `sqlite` or `postgres`", key="database")
    return Database(
        SqliteEngine(options.sqlite),
        reactor,
        clock,
        threads=_SQLITE_THREADS,
        max_idle=_SQLITE_THREADS,
    )
