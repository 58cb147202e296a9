"""Flags that say where another server's database is, and opening it."""

from __future__ import annotations

import getpass
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from mmr.cli.arguments import Arguments
from mmr.errors import StartupError
from mmr.interop.foreign_database import (
    ForeignDatabase,
    open_postgres,
    open_sqlite,
    parse_address,
)

HELP = """\
The database: -dbHost and the like name a PostgreSQL database, as matrix-media-repo has
it; without -dbPassword, PGPASSWORD is taken, or the password is asked for. -database
names any database in one word: sqlite:/path/to/homeserver.db, or an address such as
postgres://user@host/name."""


def add_database_flags(parser: Arguments, name: str) -> None:
    """Add MMR's flags (mmr-tools.md §3) and ours.

    Args:
        name: What the database and its user are called by default.
    """
    parser.flag("dbHost", "its PostgreSQL host (localhost)", default="localhost")
    parser.flag("dbPort", "its PostgreSQL port (5432)", type=int, default=5432)
    parser.flag("dbUsername", f"its PostgreSQL user ({name})", default=name)
    parser.flag("dbPassword", "that user's password; asked for if left out", default="")
    parser.flag("dbName", f"its PostgreSQL database ({name})", default=name)
    parser.flag("database", "sqlite:PATH or postgres://..., in place of -db...")


def open_database(options: Namespace, *, writing: bool = False) -> ForeignDatabase:
    """Open what `add_database_flags` named, asking for the password if need be.

    Raises:
        StartupError: when it can't be reached, or nobody is there to ask.
    """
    if options.database is None:
        return open_postgres(_postgres_options(options), writing=writing)
    kind, colon, rest = options.database.partition(":")
    if colon and kind in ("sqlite", "sqlite3"):
        return open_sqlite(Path(rest.removeprefix("//")), writing=writing)
    if colon and kind in ("postgres", "postgresql"):
        return open_postgres(parse_address(options.database), writing=writing)
    raise StartupError("-database: expected sqlite:PATH or postgres://user@host/name")


def _postgres_options(options: Namespace) -> dict[str, Any]:
    found = {
        "host": options.dbHost,
        "port": options.dbPort,
        "user": options.dbUsername,
        "dbname": options.dbName,
    }
    password = options.dbPassword
    if not password and "PGPASSWORD" not in os.environ:
        password = _ask(options.dbUsername)
    return {**found, "password": password} if password else found


def _ask(user: str) -> str:
    if not sys.stdin.isatty():
        raise StartupError(
            "Sorry, no password was given and there is no terminal to ask on: set "
            "PGPASSWORD, or give -dbPassword."
        )
    return getpass.getpass(f"Password of the PostgreSQL user {user}: ")
