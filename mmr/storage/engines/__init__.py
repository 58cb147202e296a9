"""The databases that we run on, behind one small interface."""

from __future__ import annotations

from mmr.storage.engines.base import Connection, Cursor, Engine
from mmr.storage.engines.postgres import PostgresEngine
from mmr.storage.engines.sqlite import SqliteEngine

__all__ = ["Connection", "Cursor", "Engine", "PostgresEngine", "SqliteEngine"]
