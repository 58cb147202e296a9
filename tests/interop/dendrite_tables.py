"""Dendrite's table and folder of media without a Dendrite (mmr-tools.md §4, §6)."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from mmr.interop.foreign_database import ForeignDatabase

from tests.interop.synapse_tables import SERVER, create, insert

TABLE = """
CREATE TABLE mediaapi_media_repository (
    media_id TEXT NOT NULL, media_origin TEXT NOT NULL, content_type TEXT NOT NULL,
    file_size_bytes BIGINT NOT NULL, creation_ts BIGINT NOT NULL,
    upload_name TEXT NOT NULL, base64hash TEXT NOT NULL, user_id TEXT NOT NULL)
"""


def create_table(database: ForeignDatabase) -> None:
    """Make the table."""
    create(database, TABLE)


def base64_hash(data: bytes) -> str:
    """The hash as Dendrite writes it."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def add_media(
    database: ForeignDatabase,
    folder: Path | None,
    media_id: str,
    data: bytes,
    **more: Any,
) -> Path | None:
    """A row, and its file if there is a folder."""
    name = base64_hash(data)
    values = {
        "media_id": media_id,
        "media_origin": SERVER,
        "content_type": "text/plain",
        "file_size_bytes": len(data),
        "creation_ts": 1_600_000_000_000,
        "upload_name": "a.txt",
        "base64hash": name,
        "user_id": f"@alice:{SERVER}",
    }
    insert(database, "mediaapi_media_repository", **{**values, **more})
    if folder is None:
        return None
    path = folder / name[0] / name[1] / name[2:] / "file"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
