"""What a database engine does for the storage layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Params = Sequence[Any]
Row = tuple[Any, ...]


class Cursor(Protocol):
    """The part of a DB-API cursor that we use."""

    @property
    def rowcount(self) -> int: ...

    def execute(self, sql: str, params: Params = ..., /) -> Any: ...

    def fetchone(self) -> Row | None: ...

    def fetchall(self) -> list[Row]: ...

    def close(self) -> None: ...


class Connection(Protocol):
    """The part of a DB-API connection that we use. It is always in autocommit."""

    def cursor(self) -> Any: ...

    def close(self) -> None: ...


class Engine(Protocol):
    """One kind of database. All methods block: database threads only.

    Attributes:
        name: ``sqlite`` or ``postgres``.
        begin: The statement that opens a writing transaction.
        now_ms: An SQL expression: the database's clock, in ms since the epoch.
        error: What the driver raises.
    """

    name: str
    begin: str
    now_ms: str
    error: type[Exception]

    def connect(self) -> Connection:
        """Open a connection.

        Raises:
            DatabaseUnavailable: when the database can't be reached.
        """
        ...

    def convert(self, sql: str) -> str:
        """Turn ``?`` placeholders into the driver's own."""
        ...

    def commit(self, cursor: Cursor) -> None:
        """Make the open transaction durable."""
        ...

    def execute_script(self, cursor: Cursor, script: str) -> None:
        """Run several statements inside the open transaction."""
        ...

    def lock(self, cursor: Cursor, keys: Sequence[int]) -> None:
        """Hold the locks of these signed 64-bit keys until the transaction ends."""
        ...

    def lock_startup(self, cursor: Cursor) -> None:
        """Let only one process at a time look at and change the schema."""
        ...

    def unlock_startup(self, cursor: Cursor) -> None:
        """End `lock_startup`."""
        ...

    def has_table(self, cursor: Cursor, table: str) -> bool:
        """Whether the table is there."""
        ...

    def is_alive(self, connection: Connection) -> bool:
        """Whether the connection can still be used, as far as the driver knows."""
        ...

    def is_retryable(self, error: BaseException) -> bool:
        """Whether the same transaction may succeed when it is simply run again."""
        ...

    def is_out_of_order(self, error: BaseException) -> bool:
        """Whether the database has no room, can't write, or its disk fails."""
        ...
