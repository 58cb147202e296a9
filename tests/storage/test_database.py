"""Transactions: isolation, retries, lost connections, bounds."""

from __future__ import annotations

import contextvars
import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.defer import CancelledError, DeferredList, ensureDeferred

from mmr.config.database import DatabaseConfig
from mmr.errors import MatrixError
from mmr.storage import CommitOutcomeUnknown, Database, Transaction
from mmr.storage import database as database_module
from mmr.storage.engines import SqliteEngine
from mmr.storage.engines import sqlite as sqlite_module

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase

_variable = contextvars.ContextVar("variable", default="unset")


def insert(txn: Transaction, value: str) -> str:
    """A write like any other."""
    txn.execute("INSERT INTO exports (export_id, entity) VALUES (?, ?)", (value, "%s?"))
    return value


async def values_of(db: Database) -> list[str]:
    """What `insert` has committed."""
    rows = await db.fetch_all("t", "SELECT export_id FROM exports ORDER BY export_id")
    return [row[0] for row in rows]


class DatabaseTests(StorageTestCase):
    # What makes a connection refuse changes from then on.
    read_only: ClassVar[str]

    async def test_a_transaction_is_all_or_nothing(self) -> None:
        db = await self.open()

        def fail(txn: Transaction) -> None:
            insert(txn, "a")
            raise KeyError("b")

        with self.assertRaises(KeyError):
            await db.interaction("t", fail)
        self.assertEqual(await db.interaction("t", insert, "c"), "c")
        self.assertEqual(await values_of(db), ["c"])

    async def test_one_failing_write_leaves_its_neighbours_alone(self) -> None:
        db = await self.open()
        results = await DeferredList(
            [
                ensureDeferred(db.interaction("t", insert, str(n // 2)))
                for n in range(20)
            ],
            consumeErrors=True,
        )
        self.assertEqual(sum(success for success, _ in results), 10)
        self.assertEqual(await values_of(db), [str(n) for n in range(10)])

    async def test_percent_signs_and_question_marks_in_values_stay(self) -> None:
        db = await self.open()
        await db.interaction("t", insert, "100 % of '?' \"x\" \\ %s")
        row = await db.fetch_one("t", "SELECT export_id, entity FROM exports")
        self.assertEqual(row, ("100 % of '?' \"x\" \\ %s", "%s?"))

    async def test_functions_see_the_callers_context_variables(self) -> None:
        """Log lines from database threads carry the request id."""
        db = await self.open()
        _variable.set("mine")
        found = await db.interaction("t", lambda txn: _variable.get())
        self.assertEqual(found, "mine")

    async def test_a_cancelled_wait_does_not_undo_the_write(self) -> None:
        db = await self.open()
        waiting = ensureDeferred(db.interaction("t", insert, "a"))
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        await db.interaction("t", insert, "b")
        while len(await values_of(db)) < 2:
            pass
        self.assertEqual(await values_of(db), ["a", "b"])

    async def test_too_much_waiting_work_is_refused(self) -> None:
        self.patch(database_module, "_MAX_WAITING", 5)
        db = await self.open()
        results = await DeferredList(
            [ensureDeferred(db.interaction("t", insert, str(n))) for n in range(100)],
            consumeErrors=True,
        )
        refused = [result for success, result in results if not success]
        self.assertEqual(len(await values_of(db)), 100 - len(refused))
        self.assertTrue(refused)
        self.assertEqual({failure.value.status for failure in refused}, {503})

    async def test_a_closed_database_refuses_work(self) -> None:
        db = await self.open()
        waiting = ensureDeferred(db.interaction("t", insert, "a"))
        await db.close()
        self.assertEqual(await waiting, "a")
        with self.assertRaises(MatrixError) as caught:
            await db.ping()
        self.assertEqual(caught.exception.status, 503)

    async def test_work_is_counted(self) -> None:
        db = await self.open()
        await db.ping()
        await db.interaction("t", insert, "a")
        self.assertEqual((db.queries, db.transactions), (1, 1))
        self.assertGreater(db.busy_seconds, 0)
        self.assertEqual(db.waiting, 0)

    async def test_a_probe_changes_nothing(self) -> None:
        db = await self.open()
        before = await db.fetch_all("t", "SELECT * FROM mmr_schema_version")
        await db.probe()
        after = await db.fetch_all("t", "SELECT * FROM mmr_schema_version")
        self.assertEqual(sorted(after), sorted(before))

    async def test_a_change_that_can_not_be_written_is_no_fault_of_the_caller(
        self,
    ) -> None:
        """R97: 503, and the log says what to do."""
        db = await self.open()
        await db.interaction("t", lambda txn: txn.execute(self.read_only))
        with (
            self.assertLogs("mmr.storage.database") as logs,
            self.assertRaises(MatrixError) as raised,
        ):
            await db.interaction("t", insert, "a")
        self.assertEqual(raised.exception.status, 503)
        self.assertIn("Free space on its disk", logs.output[0])

    async def test_a_probe_notices_what_a_read_does_not(self) -> None:
        """R97: full, or read-only."""
        db = await self.open()
        await db.interaction("t", lambda txn: txn.execute(self.read_only))
        with self.assertRaises(MatrixError) as caught:
            await db.probe()
        self.assertEqual(caught.exception.status, 503)
        await db.ping()

    async def test_the_database_has_one_clock(self) -> None:
        db = await self.open()
        now = await db.interaction("t", Transaction.now_ms)
        self.assertLess(abs(now - time.time() * 1000), 60_000)


class PostgresDatabaseTests(DatabaseTests, OnPostgres):
    read_only = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
    __test__ = True

    async def test_a_serialization_failure_is_tried_again(self) -> None:
        db = await self.open()
        attempts = []

        def fail_twice(txn: Transaction) -> None:
            attempts.append(1)
            insert(txn, str(len(attempts)))
            if len(attempts) < 3:
                txn.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")

        await db.interaction("t", fail_twice)
        self.assertEqual(await values_of(db), ["3"])

    async def test_a_failure_that_the_function_hides_is_not_a_success(self) -> None:
        """PostgreSQL answers COMMIT with a quiet ROLLBACK then."""
        db = await self.open()

        def hide(txn: Transaction) -> None:
            insert(txn, "a")
            try:
                txn.execute("SELECT 1/0")
            except Exception as error:
                self.assertIn("zero", str(error))

        with self.assertRaisesRegex(RuntimeError, "failed inside"):
            await db.interaction("t", hide)
        self.assertEqual(await values_of(db), [])

    async def test_idle_connections_are_closed_beyond_the_limit(self) -> None:
        assert self.settings.postgres is not None
        settings = DatabaseConfig.model_validate(
            {
                "postgres": self.settings.postgres,
                "pool": {"maxConnections": 6, "maxIdleConnections": 2},
            }
        )
        db = await self.open(settings)
        barrier = threading.Barrier(6)
        jobs = [
            ensureDeferred(db.interaction("t", lambda txn: barrier.wait(10)))
            for _ in range(6)
        ]
        await DeferredList(jobs, fireOnOneErrback=True)
        deadline = time.monotonic() + 10
        while await self.connections_of(db) > 2:
            # A session of PostgreSQL's takes its time to end.
            self.assertLess(time.monotonic(), deadline)

    async def connections_of(self, db: Database) -> int:
        row = await db.fetch_one(
            "t",
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'mmr'",
        )
        assert row is not None
        count: int = row[0]
        return count

    async def test_commits_are_as_durable_as_the_server_is_told_to_make_them(
        self,
    ) -> None:
        """R93: ``synchronous_commit`` is never lowered by us."""
        db = await self.open()
        row = await db.fetch_one(
            "t",
            "SELECT setting, source FROM pg_settings WHERE name = 'synchronous_commit'",
        )
        self.assertEqual(row, ("on", "default"))


class SqliteDatabaseTests(DatabaseTests, OnSqlite):
    read_only = "PRAGMA query_only = ON"
    __test__ = True

    async def test_waiting_writes_share_a_transaction(self) -> None:
        """A job sees its batch's earlier rows, which no reader sees yet."""
        db = await self.open()
        started, go_on = threading.Event(), threading.Event()
        seen: list[tuple[int, int]] = []

        def block(txn: Transaction) -> None:
            started.set()
            go_on.wait(10)

        def look(txn: Transaction) -> None:
            inside = txn.fetch_value("SELECT COUNT(*) FROM exports")
            with sqlite3.connect(str(self.settings.sqlite)) as reader:
                outside = reader.execute("SELECT COUNT(*) FROM exports").fetchone()[0]
            reader.close()
            seen.append((inside, outside))

        jobs: list[Any] = [db.interaction("t", block)]
        jobs += [db.interaction("t", insert, str(n)) for n in range(5)]
        jobs += [db.interaction("t", look)]
        waiting = DeferredList([ensureDeferred(job) for job in jobs])
        started.wait(10)
        go_on.set()
        await waiting
        self.assertEqual(seen, [(5, 0)])
        self.assertEqual(len(await values_of(db)), 5)

    async def test_an_error_that_ends_the_shared_transaction_fails_one_job(
        self,
    ) -> None:
        """A full disk makes SQLite roll back everything, not only a savepoint."""
        db = await self.open()

        def lose(txn: Transaction) -> None:
            insert(txn, "lost")
            txn.execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")

        jobs = [db.interaction("t", insert, str(n)) for n in range(4)]
        jobs.insert(2, db.interaction("t", lose))
        results = await DeferredList(
            [ensureDeferred(job) for job in jobs], consumeErrors=True
        )
        self.assertEqual([ok for ok, _ in results], [True, True, False, True, True])
        self.assertEqual(await values_of(db), ["0", "1", "2", "3"])

    async def test_a_failed_commit_has_an_unknown_outcome(self) -> None:
        """R92, R96: and the next transaction works, on a new connection."""
        db = await self.open()
        failing = self.patch(SqliteEngine, "connect", _connect_with_failing_commit)
        with self.assertRaises(CommitOutcomeUnknown):
            await db.interaction("t", insert, "a")
        failing.restore()
        await db.interaction("t", insert, "b")
        self.assertEqual(await values_of(db), ["b"])

    async def test_readers_do_not_wait_for_the_writer(self) -> None:
        db = await self.open()
        go_on = threading.Event()

        def block(txn: Transaction) -> None:
            insert(txn, "a")
            go_on.wait(10)

        writing = ensureDeferred(db.interaction("t", block))
        self.assertEqual(await values_of(db), [])
        go_on.set()
        await writing
        self.assertEqual(await values_of(db), ["a"])

    async def test_another_process_with_the_write_lock_is_waited_for(self) -> None:
        self.patch(sqlite_module, "_BUSY_TIMEOUT_SECONDS", 0.02)
        db = await self.open()
        other = sqlite3.connect(str(self.settings.sqlite), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with self.assertRaises(MatrixError) as caught:
            await db.interaction("t", insert, "a")
        self.assertEqual(caught.exception.status, 503)
        other.execute("COMMIT")
        other.close()
        await db.interaction("t", insert, "b")
        self.assertEqual(await values_of(db), ["b"])

    def test_every_connection_is_durable(self) -> None:
        """R93."""
        connection = SqliteEngine(Path(self.mktemp())).connect()
        self.addCleanup(connection.close)
        for pragma, expected in ("synchronous", 2), ("journal_mode", "wal"):
            row = connection.execute(f"PRAGMA {pragma}").fetchone()
            self.assertEqual(row[0], expected)

    async def test_what_was_answered_is_in_the_files(self) -> None:
        """R93: the files, copied right after the answer, hold the row."""
        db = await self.open()
        await db.interaction("t", insert, "a")
        copy = Path(self.mktemp())
        for suffix in "", "-wal":
            shutil.copy(f"{self.settings.sqlite}{suffix}", f"{copy}{suffix}")
        second = await self.open(DatabaseConfig(sqlite=copy))
        self.assertEqual(await values_of(second), ["a"])


class _FailingCommit(sqlite3.Connection):
    """A disk that fails the flush."""

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *args)


def _connect_with_failing_commit(self: SqliteEngine) -> sqlite3.Connection:
    return sqlite3.connect(
        self.path,
        isolation_level=None,
        check_same_thread=False,
        factory=_FailingCommit,
    )
