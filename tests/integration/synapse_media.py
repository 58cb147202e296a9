"""A real Synapse with media in it: by its clients, and where none can, by hand."""

from __future__ import annotations

import hashlib
import os
import urllib.parse
from pathlib import Path
from typing import Any

import attrs

from mmr.interop.foreign_database import ForeignDatabase, open_postgres, open_sqlite

from tests.harness import png
from tests.integration.server import Answer, http_request
from tests.integration.synapse import Synapse
from tests.interop.synapse_tables import insert, postgres_options

SERVER_NAME = "one.test"
REMOTE = "remote.test:8448"


@attrs.define
class Stored:
    """One media that a Synapse holds."""

    mxc: str
    content: bytes
    content_type: str
    name: str = ""
    is_quarantined: bool = False
    is_protected: bool = False
    user: str = f"@alice:{SERVER_NAME}"

    @property
    def media_id(self) -> str:
        return self.mxc.rpartition("/")[2]


class FilledSynapse:
    """A Synapse, its users, and what was uploaded.

    Args:
        folder: Its folder.
        database: The URL of a PostgreSQL database; None: SQLite.
    """

    def __init__(self, folder: Path, database: str | None) -> None:
        self.postgres = postgres_options(database) if database else None
        texts = {k: str(v) for k, v in (self.postgres or {}).items()}
        self.synapse = Synapse(
            folder, SERVER_NAME, with_media=True, postgres=texts or None
        )
        self.media: list[Stored] = []
        self.alice = self.admin = ""

    def start(self) -> None:
        """Start it, with users."""
        self.synapse.start()
        self.alice = self.synapse.register("alice", "password")
        self.admin = self.synapse.register("root", "password", admin=True)

    @property
    def config(self) -> Path:
        """Its homeserver.yaml."""
        return self.synapse.folder / "homeserver.yaml"

    @property
    def store(self) -> Path:
        """Its media folder."""
        return self.synapse.folder / "media"

    def open_database(self) -> ForeignDatabase:
        """Its database, for writing."""
        if self.postgres:
            return open_postgres(self.postgres, writing=True)
        return open_sqlite(self.synapse.folder / "homeserver.db", writing=True)

    def request(
        self, method: str, path: str, body: bytes = b"", token: str = "", **headers: str
    ) -> Answer:
        """Make one request."""
        sent = {"Authorization": f"Bearer {token or self.alice}", **headers}
        return http_request(self.synapse.port, method, path, body, sent)

    def upload(self, content: bytes, content_type: str, name: str = "") -> Stored:
        """Upload as a client does."""
        query = f"?filename={urllib.parse.quote(name)}" if name else ""
        answer = self.request(
            "POST",
            f"/_matrix/media/v3/upload{query}",
            content,
            **{"Content-Type": content_type},
        )
        assert answer.status == 200, answer
        self.media.append(
            Stored(answer.json["content_uri"], content, content_type, name)
        )
        return self.media[-1]

    def download(self, mxc: str, token: str = "", query: str = "") -> Answer:
        """Download over the authenticated route."""
        path = mxc.removeprefix("mxc://") + query
        return self.request(
            "GET", f"/_matrix/client/v1/media/download/{path}", token=token
        )

    def quarantine(self, stored: Stored) -> None:
        """As moderators do."""
        path = f"/_synapse/admin/v1/media/quarantine/{SERVER_NAME}/{stored.media_id}"
        answer = self.request("POST", path, b"{}", self.admin)
        assert answer.status == 200, answer
        for each in self.media:
            if each.content == stored.content and not each.is_protected:
                each.is_quarantined = True

    def protect(self, stored: Stored) -> None:
        """As moderators do."""
        path = f"/_synapse/admin/v1/media/protect/{stored.media_id}"
        answer = self.request("POST", path, b"{}", self.admin)
        assert answer.status == 200, answer
        stored.is_protected = True

    def fill(self) -> None:
        """Put in some of everything."""
        self.upload(png(320, 240), "image/png", "a picture.png")
        self.upload("Grüße\n".encode(), "text/plain; charset=utf-8", "Grüße ☃.txt")
        self.upload(b"<script>", "text/html", "../../etc/passwd")
        self.upload(os.urandom(3_000_000), "video/mp4", 'quo"ted; name.mp4')
        self.upload(b"x", "application/x-unheard-of", "n" * 200)
        self.upload(b"no name", "application/octet-stream")
        for _ in range(2):
            self.upload(b"the same twice", "text/plain", "twice.txt")
        bad = [self.upload(b"bad content", "text/plain", "bad.txt") for _ in range(3)]
        self.protect(bad[1])
        self.quarantine(bad[0])
        self.protect(self.upload(b"dear content", "text/plain", "dear.txt"))
        for number in range(30):
            self.upload(f"small {number}".encode(), "text/plain", f"{number}.txt")
        answer = self.request("POST", "/_matrix/media/v1/create")
        assert answer.status == 200, answer
        database = self.open_database()
        self._add_preview(database)
        self._add_remote(database, "their-media_1", b"remote content", "far.txt")
        self._add_remote(database, "theirBadMedia", b"remote bad", "", "system")
        database.close()

    def _add_preview(self, database: ForeignDatabase) -> None:
        insert(
            database,
            "local_media_repository",
            media_id="2020-08-17_abcdefghijklmnop",
            media_type="text/html",
            media_length=6,
            created_ts=1600000000000,
            url_cache="https://example.org/",
            user_id=f"@alice:{SERVER_NAME}",
        )
        self._write("url_cache/2020-08-17/abcdefghijklmnop", b"<html>")

    def _add_remote(
        self,
        database: ForeignDatabase,
        media_id: str,
        content: bytes,
        name: str,
        quarantined_by: str | None = None,
    ) -> None:
        """Another server's media would need another server: by hand, then."""
        file_id = hashlib.sha256(media_id.encode()).hexdigest()[:24]
        values: dict[str, Any] = {
            "media_origin": REMOTE,
            "media_id": media_id,
            "media_type": "text/plain",
            "created_ts": 1600000000000,
            "upload_name": name,
            "media_length": len(content),
            "filesystem_id": file_id,
            "last_access_ts": 1600000001000,
            "quarantined_by": quarantined_by,
        }
        insert(database, "remote_media_cache", **values)
        place = f"{file_id[:2]}/{file_id[2:4]}/{file_id[4:]}"
        self._write(f"remote_content/{REMOTE}/{place}", content)
        self.media.append(
            Stored(
                f"mxc://{REMOTE}/{media_id}",
                content,
                "text/plain",
                name,
                is_quarantined=quarantined_by is not None,
                user="",
            )
        )

    def _write(self, path: str, content: bytes) -> None:
        target = self.store / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
