"""Another server's database: SQLite or PostgreSQL, opened as a guest.

Everything here blocks and belongs in a pool thread, one call at a time.
"""

from __future__ import annotations

import contextlib
import sqlite3
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn

from mmr.errors import StartupError

Row = tuple[Any, ...]

# The other server may be running: wait for its writes as long as it waits for ours.
_BUSY_SECONDS = 30.0
_POSTGRES_DEFAULTS: dict[str, Any] = {
    "application_name": "mmr",
    "client_encoding": "UTF8",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}


class ForeignDatabaseError(StartupError):
    """The database can't be reached, or is not what it should be; the text says why."""


class RowRefused(ForeignDatabaseError):
    """The database works, but doesn't take this row."""


class ForeignDatabase:
    """One connection in autocommit mode, so that no transaction is held open.

    Use `open_sqlite` or `open_postgres`.

    Attributes:
        name: How the operator knows it, for messages. Holds no password.
    """

    def __init__(
        self, name: str, connection: Any, driver: ModuleType, placeholder: str
    ) -> None:
        self.name = name
        self._connection = connection
        self._driver = driver
        self._placeholder = placeholder

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """Run a statement with ``?`` placeholders; gives all of its rows.

        Raises:
            ForeignDatabaseError: when the database refuses or is gone.
        """
        with self._cursor() as cursor:
            cursor.execute(self._convert(sql), params)
            return [] if cursor.description is None else list(cursor.fetchall())

    def columns(self, table: str) -> frozenset[str]:
        """The names of the columns of a table.

        Raises:
            ForeignDatabaseError: when there is no such table.
        """
        with self._cursor() as cursor:
            # Not a stranger's text: tables are named in our own code.
            cursor.execute(f"SELECT * FROM {table} LIMIT 0")  # noqa: S608
            return frozenset(column[0] for column in cursor.description)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Statements inside happen together, or not at all.

        Raises:
            ForeignDatabaseError: when the database doesn't commit.
        """
        begin = "BEGIN IMMEDIATE" if self._placeholder == "?" else "BEGIN"
        self.rows(begin)
        try:
            yield
        except BaseException:
            with contextlib.suppress(ForeignDatabaseError):
                self.rows("ROLLBACK")
            raise
        self.rows("COMMIT")

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        try:
            with contextlib.closing(self._connection.cursor()) as cursor:
                yield cursor
        except (self._driver.DataError, self._driver.IntegrityError) as error:
            raise RowRefused(f"{self.name}: {str(error).strip()}") from error
        except self._driver.Error as error:
            raise ForeignDatabaseError(f"{self.name}: {str(error).strip()}") from error

    def _convert(self, sql: str) -> str:
        return sql if self._placeholder == "?" else sql.replace("?", "%s")


def open_sqlite(path: Path, *, writing: bool = False) -> ForeignDatabase:
    """Open a database file that is there.

    Args:
        path: The file.
        writing: Else nothing can be changed by accident.

    Raises:
        ForeignDatabaseError: when it isn't there or can't be read.
    """
    if not path.is_file():
        raise ForeignDatabaseError(f"{path}: there is no such database file")
    mode = "rw" if writing else "ro"
    address = f"file:{urllib.parse.quote(str(path.absolute()))}?mode={mode}"
    try:
        connection = sqlite3.connect(
            address,
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        # A name that isn't UTF-8 spoils its own row, not the run.
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise ForeignDatabaseError(f"{path}: {error}") from error
    return ForeignDatabase(str(path), connection, sqlite3, "?")


def open_postgres(
    options: Mapping[str, Any], *, writing: bool = False
) -> ForeignDatabase:
    """Connect to PostgreSQL.

    Args:
        options: libpq's words: ``host``, ``port``, ``user``, ``password``,
            ``dbname``, ``sslmode`` …
        writing: Else the session is read-only.

    Raises:
        ForeignDatabaseError: when it can't be reached or refuses the credentials.
    """
    name = _postgres_name(options)
    try:
        connection = psycopg2.connect(**{**_POSTGRES_DEFAULTS, **options})
        connection.set_session(readonly=not writing, autocommit=True)
    except psycopg2.Error as error:
        raise ForeignDatabaseError(f"{name}: {str(error).strip()}") from error
    return ForeignDatabase(name, connection, psycopg2, "%s")


def parse_address(address: str) -> dict[str, Any]:
    """Split ``postgres://…`` into the options of `open_postgres`.

    Raises:
        ForeignDatabaseError: when libpq can't read it.
    """
    try:
        return dict(parse_dsn(address))
    except psycopg2.ProgrammingError:
        # libpq quotes the address, and a password may be in there.
        raise ForeignDatabaseError(
            "the address of the database is not one that PostgreSQL understands: "
            "expected postgres://user:password@host:5432/name"
        ) from None


def _postgres_name(options: Mapping[str, Any]) -> str:
    host = options.get("host") or "the local socket"
    database = options.get("dbname") or options.get("database") or options.get("user")
    return f"PostgreSQL database {database!r} at {host}, user {options.get('user')!r}"
