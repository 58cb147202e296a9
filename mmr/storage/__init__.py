"""The database: engines, connections, schema, and one store a family of tables."""

from __future__ import annotations

from mmr.storage.database import Database, open_database
from mmr.storage.errors import CommitOutcomeUnknown, DatabaseUnavailable, MediaExists
from mmr.storage.transaction import Transaction

__all__ = [
    "CommitOutcomeUnknown",
    "Database",
    "DatabaseUnavailable",
    "MediaExists",
    "Transaction",
    "open_database",
]
