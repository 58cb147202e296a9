"""Synapse's tables of media without a Synapse, on both engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mmr.interop.foreign_database import ForeignDatabase, open_postgres, open_sqlite

from tests.postgres import create_database

SERVER = "media.example"

# As in Synapse 1.163, without its indexes (synapse-internals.md §2.14).
TABLES = """
CREATE TABLE local_media_repository (
    media_id TEXT UNIQUE, media_type TEXT, media_length INTEGER, created_ts BIGINT,
    upload_name TEXT, user_id TEXT, quarantined_by TEXT, url_cache TEXT,
    last_access_ts BIGINT, safe_from_quarantine BOOLEAN NOT NULL DEFAULT FALSE,
    authenticated BOOLEAN NOT NULL DEFAULT FALSE, sha256 TEXT);
CREATE TABLE local_media_repository_thumbnails (
    media_id TEXT, thumbnail_width INTEGER, thumbnail_height INTEGER,
    thumbnail_type TEXT, thumbnail_method TEXT, thumbnail_length INTEGER);
CREATE TABLE remote_media_cache (
    media_origin TEXT, media_id TEXT, media_type TEXT, created_ts BIGINT,
    upload_name TEXT, media_length INTEGER, filesystem_id TEXT, last_access_ts BIGINT,
    quarantined_by TEXT, authenticated BOOLEAN NOT NULL DEFAULT FALSE, sha256 TEXT,
    UNIQUE (media_origin, media_id));
CREATE TABLE remote_media_cache_thumbnails (
    media_origin TEXT, media_id TEXT, thumbnail_width INTEGER,
    thumbnail_height INTEGER, thumbnail_method TEXT, thumbnail_type TEXT,
    thumbnail_length INTEGER, filesystem_id TEXT);
"""
# What a database from before 2018 lacks.
OLD_TABLES = """
CREATE TABLE local_media_repository (
    media_id TEXT UNIQUE, media_type TEXT, media_length INTEGER, created_ts BIGINT,
    upload_name TEXT, user_id TEXT);
CREATE TABLE remote_media_cache (
    media_origin TEXT, media_id TEXT, media_type TEXT, created_ts BIGINT,
    upload_name TEXT, media_length INTEGER, filesystem_id TEXT);
"""


def postgres_options(url: str) -> dict[str, Any]:
    """The parts of an address, as psycopg2 takes them."""
    parts = urlsplit(url)
    return {
        "host": parts.hostname,
        "port": parts.port,
        "user": parts.username,
        "dbname": parts.path.removeprefix("/"),
    }


def open_empty(engine: str, folder: Path) -> ForeignDatabase:
    """A database without tables, open for writing."""
    if engine == "postgres":
        return open_postgres(postgres_options(create_database()), writing=True)
    path = folder / "homeserver.db"
    path.touch()
    return open_sqlite(path, writing=True)


def create(database: ForeignDatabase, tables: str = TABLES) -> None:
    """Make the tables."""
    for statement in tables.split(";"):
        if statement.strip():
            database.rows(statement)


def insert(database: ForeignDatabase, table: str, **values: Any) -> None:
    """Add a row."""
    names = ", ".join(values)
    marks = ", ".join("?" for _ in values)
    database.rows(
        f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values())
    )
