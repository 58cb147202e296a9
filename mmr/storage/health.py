"""A look at a database that changes nothing in it."""

from __future__ import annotations

import contextlib
import time

import attrs

from mmr.storage.engines import Engine
from mmr.storage.migrations import deltas
from mmr.storage.transaction import Transaction

_ROUNDS = 20


@attrs.frozen
class DatabaseHealth:
    """What was seen.

    Attributes:
        version: Of the database server, as it says itself.
        schema: The version of our schema; None: an empty database.
        newest: The version that this code wants.
        latency_s: The median of some trivial queries.
        clock_ms: The database's clock.
    """

    version: str
    schema: int | None
    newest: int
    latency_s: float
    clock_ms: int


def look(engine: Engine) -> DatabaseHealth:
    """Connect and look. Blocks.

    Raises:
        DatabaseUnavailable: when it can't be reached.
    """
    with contextlib.closing(engine.connect()) as connection:
        txn = Transaction(engine, connection.cursor())
        is_ours = txn.has_table("mmr_schema_version")
        return DatabaseHealth(
            version=_version(txn, engine),
            schema=txn.fetch_value(
                "SELECT COALESCE(MAX(version), 0) FROM mmr_schema_version"
            )
            if is_ours
            else (0 if txn.has_table("gomigrate") else None),
            newest=deltas("own")[-1].number,
            latency_s=_median_latency_s(txn),
            clock_ms=txn.now_ms(),
        )


def _version(txn: Transaction, engine: Engine) -> str:
    if engine.name == "sqlite":
        txn.execute("SELECT 'SQLite ' || sqlite_version()")
    else:
        txn.execute("SELECT version()")
    row = txn.fetchone()
    return str(row[0]) if row else ""


def _median_latency_s(txn: Transaction) -> float:
    took = []
    for _ in range(_ROUNDS):
        started = time.monotonic()
        txn.fetch_value("SELECT 1")
        took.append(time.monotonic() - started)
    return sorted(took)[_ROUNDS // 2]
