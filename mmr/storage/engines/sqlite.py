"""SQLite, embedded: the default for one small server."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from mmr.storage.engines.base import Connection, Cursor
from mmr.storage.errors import DatabaseUnavailable

_BUSY_TIMEOUT_SECONDS = 5.0
_SYNCHRONOUS_FULL = 2
_OUT_OF_ORDER = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}
)


class SqliteEngine:
    """A database file in WAL mode: readers never wait for the writer.

    Args:
        path: The file. It is made, readable by its owner only, when missing.
    """

    name = "sqlite"
    # IMMEDIATE takes the write lock at once: a transaction that reads first and then
    # writes can't fail half way.
    begin = "BEGIN IMMEDIATE"
    now_ms = "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
    error: type[Exception] = sqlite3.Error

    def __init__(self, path: Path) -> None:
        self.path = path

    def connect(self) -> sqlite3.Connection:
        """Open the file with the settings that make commits durable (R93)."""
        try:
            self._make_file()
            connection = sqlite3.connect(
                self.path,
                timeout=_BUSY_TIMEOUT_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        except (OSError, sqlite3.Error) as error:
            raise DatabaseUnavailable(f"{self.path}: {error}") from error
        try:
            self._set_up(connection)
        except sqlite3.Error as error:
            connection.close()
            raise DatabaseUnavailable(f"{self.path}: {error}") from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_file(self) -> None:
        """Make the file if it is missing; one that is there is not opened.

        For closing it again would end the locks that all other connections of this
        process hold, and another process could take the log away from under them
        (sqlite.org/howtocorrupt.html, 2.2).
        """
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def _set_up(self, connection: sqlite3.Connection) -> None:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise DatabaseUnavailable(
                f"{self.path}: SQLite's WAL mode doesn't work in this folder "
                f"(journal_mode is {mode!r}). Use a folder on a local disk."
            )
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=OFF")
        synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
        if synchronous != _SYNCHRONOUS_FULL:
            raise DatabaseUnavailable(f"{self.path}: SQLite refuses synchronous=FULL")

    def convert(self, sql: str) -> str:
        """SQLite takes ``?`` as it is."""
        return sql

    def commit(self, cursor: Cursor) -> None:
        """Commit."""
        cursor.execute("COMMIT")

    def execute_script(self, cursor: Cursor, script: str) -> None:
        """Run the statements one by one: `executescript` would commit first."""
        statement = ""
        for line in script.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                cursor.execute(statement)
                statement = ""
        # The last one may have no semicolon.
        cursor.execute(statement)

    def lock(self, cursor: Cursor, keys: Sequence[int]) -> None:
        """Nothing to do: a transaction holds the only write lock already."""

    def lock_startup(self, cursor: Cursor) -> None:
        """Nothing to do: each step takes the write lock and looks again."""

    def unlock_startup(self, cursor: Cursor) -> None:
        """Nothing to do."""

    def has_table(self, cursor: Cursor, table: str) -> bool:
        """Whether the table is there."""
        cursor.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
        )
        return cursor.fetchone() is not None

    def is_alive(self, connection: Connection) -> bool:
        """A file doesn't hang up."""
        return True

    def is_retryable(self, error: BaseException) -> bool:
        """Whether another process held the write lock for too long."""
        if not isinstance(error, sqlite3.OperationalError):
            return False
        # The low byte is the primary code; the rest refines it.
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def is_out_of_order(self, error: BaseException) -> bool:
        """Whether the disk is full, fails, or was mounted read-only."""
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _OUT_OF_ORDER
