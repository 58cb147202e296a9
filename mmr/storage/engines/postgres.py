"""PostgreSQL through psycopg2: for production and for more than one process."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any, cast

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as PsycopgConnection
from psycopg2.extensions import parse_dsn

from mmr.errors import ConfigError
from mmr.storage.engines.base import Connection, Cursor
from mmr.storage.errors import DatabaseUnavailable

_STARTUP_LOCK = 0x6D6D72  # "mmr"
# A class of codes, and two (PostgreSQL's manual, appendix A).
_NO_RESOURCES = "53"
_IO_ERROR = "58030"
_READ_ONLY = "25006"
_CONNECTION_DEFAULTS: dict[str, Any] = {
    "application_name": "mmr",
    "client_encoding": "UTF8",
    "connect_timeout": 10,
    # A peer that vanished without a word must not hold a thread for hours.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class PostgresEngine:
    """A PostgreSQL database.

    Args:
        dsn: A URL or a libpq key/value string. As in MMR, TLS is required unless it
            names an ``sslmode``.

    Raises:
        ConfigError: when libpq can't read the address.
    """

    name = "postgres"
    # Named, because the lock-then-look pattern needs a fresh snapshot for each
    # statement, whatever the server's default is.
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
    now_ms = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
    error: type[Exception] = psycopg2.Error

    def __init__(self, dsn: str) -> None:
        try:
            given = parse_dsn(dsn)
        except psycopg2.Error as error:
            # libpq may quote the address, and the password is in there.
            cause = str(error).strip().replace(dsn, "...")
            raise ConfigError(
                f"not an address that PostgreSQL understands ({cause}); "
                "expected postgres://user:password@host/database?sslmode=require",
                key="database.postgres",
            ) from None
        self._options = {**_CONNECTION_DEFAULTS, **given}
        if "PGSSLMODE" not in os.environ:
            self._options.setdefault("sslmode", "require")

    def connect(self) -> PsycopgConnection:
        """Open a connection in autocommit mode."""
        try:
            connection: PsycopgConnection = psycopg2.connect(**self._options)
        except psycopg2.Error as error:
            raise DatabaseUnavailable(str(error).strip()) from error
        connection.autocommit = True
        return connection

    def convert(self, sql: str) -> str:
        """Turn ``?`` into ``%s``. SQL of ours has no ``?`` inside of literals."""
        return _convert(sql)

    def commit(self, cursor: Cursor) -> None:
        """Commit, and make sure that it was one.

        PostgreSQL answers ROLLBACK, without an error, when a statement before failed
        and the failure was caught.
        """
        cursor.execute("COMMIT")
        if cast(Any, cursor).statusmessage != "COMMIT":
            raise RuntimeError("a statement failed inside the transaction")

    def execute_script(self, cursor: Cursor, script: str) -> None:
        """Run several statements inside the open transaction."""
        cursor.execute(script)

    def lock(self, cursor: Cursor, keys: Sequence[int]) -> None:
        """Take the advisory locks, one after the other, until the transaction ends."""
        if keys:
            locks = ",".join(["pg_advisory_xact_lock(%s)"] * len(keys))
            cursor.execute(f"SELECT {locks}", keys)

    def lock_startup(self, cursor: Cursor) -> None:
        """Take the start-up lock, until `unlock_startup` or the connection ends."""
        cursor.execute("SELECT pg_advisory_lock(%s)", (_STARTUP_LOCK,))

    def unlock_startup(self, cursor: Cursor) -> None:
        """Let the next process in."""
        cursor.execute("SELECT pg_advisory_unlock(%s)", (_STARTUP_LOCK,))

    def has_table(self, cursor: Cursor, table: str) -> bool:
        """Whether the search path leads to the table."""
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (table,))
        row = cursor.fetchone()
        return row is not None and bool(row[0])

    def is_alive(self, connection: Connection) -> bool:
        """Whether the driver has not seen the connection break."""
        return not cast(PsycopgConnection, connection).closed

    def is_retryable(self, error: BaseException) -> bool:
        """Whether PostgreSQL gave the transaction up for the sake of another one."""
        return isinstance(error, errors.SerializationFailure | errors.DeadlockDetected)

    def is_out_of_order(self, error: BaseException) -> bool:
        """Whether it lacks room or memory, is read-only, or its disk fails."""
        code = getattr(error, "pgcode", None) or ""
        return code[:2] == _NO_RESOURCES or code in (_IO_ERROR, _READ_ONLY)


@functools.lru_cache(maxsize=1024)
def _convert(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")
