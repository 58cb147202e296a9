"""Bring a database to the schema of this code, whatever state it is in.

Two histories live side by side. ``gomigrate`` is MMR's:
a row for each of its migrations. PostgreSQL gets the ones that are missing, so an MMR
database is adopted in place and MMR could open ours. ``mmr_schema_version`` is our own:
the deltas in ``schema/own/`` add tables beside MMR's and never change those.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Concatenate, ParamSpec

import attrs

from mmr.errors import StartupError
from mmr.storage.datastore_totals import recount_txn
from mmr.storage.engines.base import Connection, Engine
from mmr.storage.transaction import Transaction

logger = logging.getLogger(__name__)

P = ParamSpec("P")

_NAME = re.compile(r"(?P<number>[0-9]+)_(?P<name>[a-z0-9_]+)\.sql\Z")

# What a delta needs beyond SQL, in the same transaction.
_AFTER_OWN: dict[int, Callable[[Transaction], None]] = {1: recount_txn}


@attrs.frozen
class Delta:
    """One numbered step."""

    number: int
    name: str
    script: str


def deltas(folder: str) -> list[Delta]:
    """The steps of ``schema/<folder>/``, in order."""
    found = []
    for entry in files("mmr.storage").joinpath("schema", folder).iterdir():
        if match := _NAME.match(entry.name):
            script = entry.read_text("utf-8")
            found.append(Delta(int(match["number"]), match["name"], script))
    return sorted(found, key=lambda delta: delta.number)


def prepare(engine: Engine) -> None:
    """Create or upgrade the schema; one transaction a step (R103). Blocks.

    Several processes may do so at once.

    Raises:
        StartupError: when the database is newer than this code, or not ours.
        DatabaseUnavailable: when it can't be reached.
    """
    connection = engine.connect()
    try:
        cursor = connection.cursor()
        engine.lock_startup(cursor)
        _apply_mmr_history(engine, connection)
        _apply_own_history(engine, connection)
        engine.unlock_startup(cursor)
    finally:
        connection.close()


def _in_transaction(
    engine: Engine,
    connection: Connection,
    step: Callable[Concatenate[Transaction, P], None],
    *args: P.args,
    **kwargs: P.kwargs,
) -> None:
    cursor = connection.cursor()
    cursor.execute(engine.begin)
    try:
        step(Transaction(engine, cursor), *args, **kwargs)
    except BaseException:
        cursor.execute("ROLLBACK")
        raise
    engine.commit(cursor)


def _apply_mmr_history(engine: Engine, connection: Connection) -> None:
    _in_transaction(engine, connection, _create_mmr_tables, engine.name)
    # MMR has no SQLite, so there is no history to go through: its file is the result.
    if engine.name == "postgres":
        for delta in deltas("gomigrate"):
            _in_transaction(engine, connection, _apply_mmr, delta)


def _create_mmr_tables(txn: Transaction, engine_name: str) -> None:
    if txn.has_table("gomigrate"):
        return
    if txn.has_table("media"):
        raise StartupError(
            "The database has a table `media` but no `gomigrate`: it belongs to "
            "another program. Name an empty database, or one of "
            "matrix-media-repo, in `database`."
        )
    schema = files("mmr.storage").joinpath("schema", f"{engine_name}.sql")
    txn.execute_script(schema.read_text("utf-8"))


def _apply_mmr(txn: Transaction, delta: Delta) -> None:
    """MMR looks each number up by itself: gaps are filled, unknown rows ignored."""
    txn.execute("SELECT 1 FROM gomigrate WHERE migration_id = ?", (delta.number,))
    if txn.fetchone() is not None:
        return
    logger.info("Applying MMR's migration %d (%s)", delta.number, delta.name)
    txn.execute_script(delta.script)
    txn.execute("INSERT INTO gomigrate (migration_id) VALUES (?)", (delta.number,))


def _apply_own_history(engine: Engine, connection: Connection) -> None:
    own = deltas("own")
    _in_transaction(engine, connection, _create_own_version)
    _in_transaction(engine, connection, _refuse_newer, own[-1].number)
    for delta in own:
        _in_transaction(engine, connection, _apply_own, delta)


def _create_own_version(txn: Transaction) -> None:
    txn.execute(
        "CREATE TABLE IF NOT EXISTS mmr_schema_version"
        " (version BIGINT PRIMARY KEY, applied_ts BIGINT NOT NULL)"
    )


def _own_version(txn: Transaction) -> int:
    return txn.fetch_value("SELECT COALESCE(MAX(version), 0) FROM mmr_schema_version")


def _refuse_newer(txn: Transaction, newest: int) -> None:
    found = _own_version(txn)
    if found > newest:
        raise StartupError(
            f"The database has schema version {found}, this code knows versions up "
            f"to {newest}. Start the newer release that upgraded it, or restore a "
            "backup from before."
        )


def _apply_own(txn: Transaction, delta: Delta) -> None:
    if _own_version(txn) >= delta.number:
        return
    logger.info("Applying schema version %d (%s)", delta.number, delta.name)
    txn.execute_script(delta.script)
    if delta.number in _AFTER_OWN:
        _AFTER_OWN[delta.number](txn)
    txn.execute(
        "INSERT INTO mmr_schema_version (version, applied_ts) VALUES (?, ?)",
        (delta.number, txn.now_ms()),
    )
