"""A look behind the running server: its database and its recurring work."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg2

from tests.integration.server import Server

_SWEEP = """
import sys
from pathlib import Path
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from mmr.config import load_config
from mmr.server import MediaRepoServer

async def main(reactor):
    server = MediaRepoServer(load_config([Path(sys.argv[1])]), reactor)
    await server.start()
    try:
        await server.sweep.sweep(older_than_s=0)
        await server.sweep.delete_queued()
        await server._expire_pending()
    finally:
        await server.stop()

react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


def rows(server: Server, query: str) -> list[tuple[Any, ...]]:
    """Run one statement on the database of a stopped server."""
    postgres = server.config["database"].get("postgres")
    connection: Any = (
        psycopg2.connect(postgres)
        if postgres
        else sqlite3.connect(server.config["database"]["sqlite"])
    )
    try:
        cursor = connection.cursor()
        cursor.execute(query)
        found = cursor.fetchall() if cursor.description else []
        connection.commit()
        return list(found)
    finally:
        connection.close()


def sweep(server: Server) -> None:
    """Do what machine 0 does every ten minutes, to traces of any age."""
    subprocess.run(
        [sys.executable, "-c", _SWEEP, str(server.config_path)],
        check=True,
        timeout=120,
    )


def recorded(server: Server) -> set[Path]:
    """The files that records name."""
    query = "SELECT location FROM media UNION SELECT location FROM thumbnails"
    return {server.media / location for (location,) in rows(server, query)}
