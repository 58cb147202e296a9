"""What store methods see of a transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from mmr.storage.engines.base import Cursor, Engine, Params, Row


class Transaction:
    """A cursor inside a transaction (or in autocommit, for a single read).

    SQL is written once, with ``?`` for values, in words that both engines know.
    """

    def __init__(self, engine: Engine, cursor: Cursor) -> None:
        self._engine = engine
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        """Rows that the last statement changed."""
        return self._cursor.rowcount

    def execute(self, sql: str, params: Params = ()) -> None:
        """Run one statement."""
        if params:
            self._cursor.execute(self._engine.convert(sql), params)
        else:
            self._cursor.execute(sql)

    def execute_script(self, script: str) -> None:
        """Run several statements without parameters."""
        self._engine.execute_script(self._cursor, script)

    def fetchone(self) -> Row | None:
        """The next row of the last statement."""
        return self._cursor.fetchone()

    def fetchall(self) -> list[Row]:
        """The rest of the last statement's rows."""
        return self._cursor.fetchall()

    def fetch_value(self, sql: str, params: Params = ()) -> int:
        """The single number that the query gives."""
        self.execute(sql, params)
        row = self.fetchone()
        if row is None:
            raise LookupError("the query gave no row")
        return int(row[0])

    def lock(self, family: str, name: str) -> None:
        """Be the only transaction that holds this name, until the end.

        In PostgreSQL an advisory lock, in SQLite the write lock (design §6).
        """
        self._engine.lock(self._cursor, [_lock_key(family, name)])

    def lock_all(self, family: str, names: Iterable[str]) -> None:
        """`lock` several names, in one order for all who do."""
        keys = sorted({_lock_key(family, name) for name in names})
        self._engine.lock(self._cursor, keys)

    def now_ms(self) -> int:
        """The database's clock, in ms since the epoch: one clock for all processes."""
        return self.fetch_value(f"SELECT {self._engine.now_ms}")

    def has_table(self, table: str) -> bool:
        """Whether the table is there."""
        return self._engine.has_table(self._cursor, table)


def _lock_key(family: str, name: str) -> int:
    digest = hashlib.blake2b(f"{family}:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def placeholders(rows: Sequence[Row]) -> tuple[str, list[object]]:
    """``(?,?),(?,?)`` and the flat values, for an INSERT of several rows."""
    width = len(rows[0])
    group = f"({','.join('?' * width)})"
    return ",".join([group] * len(rows)), [value for row in rows for value in row]
