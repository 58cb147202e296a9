"""A Synapse's database and media folder without Synapse: quick to make and break."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from mmr.interop import synapse_store
from mmr.interop.foreign_database import ForeignDatabase, open_sqlite

from tests.interop.synapse_tables import create, insert

WHEN = 1_600_000_000_000


class FakeSynapse:
    """On SQLite.

    Args:
        folder: Made; its homeserver.yaml, database and media go there.
    """

    def __init__(self, folder: Path, server_name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.server_name = server_name
        self.store = folder / "media"
        self.store.mkdir()
        self.config = folder / "homeserver.yaml"
        self.config.write_text(
            f"server_name: {server_name}\nmedia_store_path: media\n"
            "database: {name: sqlite3, args: {database: homeserver.db}}\n"
        )
        path = folder / "homeserver.db"
        path.touch()
        self.database: ForeignDatabase = open_sqlite(path, writing=True)
        create(self.database)

    def add(self, media_id: str, content: bytes, **values: Any) -> Path:
        """Add local media; returns its file."""
        row: dict[str, Any] = {
            "media_id": media_id,
            "media_type": "text/plain",
            "media_length": len(content),
            "created_ts": WHEN,
            "upload_name": f"{media_id}.txt",
            "user_id": f"@alice:{self.server_name}",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        insert(self.database, "local_media_repository", **{**row, **values})
        return self.write(synapse_store.local_content(media_id), content)

    def add_remote(
        self, origin: str, media_id: str, content: bytes, **values: Any
    ) -> Path:
        """Add media of another server; returns its file."""
        row: dict[str, Any] = {
            "media_origin": origin,
            "media_id": media_id,
            "media_type": "text/plain",
            "media_length": len(content),
            "created_ts": WHEN,
            "filesystem_id": f"file{media_id}",
        }
        insert(self.database, "remote_media_cache", **{**row, **values})
        return self.write(
            synapse_store.remote_content(origin, f"file{media_id}"), content
        )

    def write(self, path: str, content: bytes) -> Path:
        """Put a file into the media folder."""
        target = self.store / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target

    def add_many(self, count: int, size: int = 100) -> dict[str, bytes]:
        """Add so many small files; returns them."""
        made = {
            f"many{number:06}": f"{number},".encode() * size for number in range(count)
        }
        with self.database.transaction():
            for media_id, content in made.items():
                self.add(media_id, content)
        return made

    def files(self) -> set[Path]:
        """Every file of the media folder."""
        return {path for path in self.store.rglob("*") if path.is_file()}
