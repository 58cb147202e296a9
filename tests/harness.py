"""A whole server in the test's process, spoken to over HTTP on loopback.

Nothing is mocked but the homeserver, which is a stub on loopback (`tests.homeserver`):
requests go through the real site, the real pools, a real database and a folder.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, ClassVar

import yaml
from PIL import Image

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from mmr.config import load_config
from mmr.datastores.file import FileDatastore
from mmr.http.listen import listen_tcp
from mmr.server import MediaRepoServer
from mmr.storage.media import MediaRecord

from tests.homeserver import StubHomeserver
from tests.postgres import create_database
from tests.waiting import Waiting
from tests.wire import Answer, Wire

HOST = "media.example"
ALICE = "@alice:media.example"
BOB = "@bob:media.example"
ADMIN = "@admin:media.example"
GUEST = "@guest:media.example"
TOKENS = {
    "alice-token": ALICE,
    "bob-token": BOB,
    "admin-token": ADMIN,
    "guest-token": GUEST,
}
SHARED_SECRET = "a-shared-secret-of-some-length"


def png(width: int = 64, height: int = 48, color: str = "red") -> bytes:
    """A small picture."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), color).save(out, "PNG")
    return out.getvalue()


def jpeg(width: int, height: int, color: str = "blue") -> bytes:
    """A photo, or what passes for one."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), color).save(out, "JPEG")
    return out.getvalue()


class ServerCase(Waiting, TestCase):
    """Starts a server before each test and stops it after.

    Attributes:
        config: Merged over the base configuration, section by section.
        engine: ``sqlite`` or ``postgres``.
    """

    timeout = 60
    config: ClassVar[dict[str, Any]] = {}
    engine: ClassVar[str] = "sqlite"

    async def setUp(self) -> None:
        self.homeserver = StubHomeserver(reactor)
        self.homeserver.users.update(TOKENS)
        self.homeserver.guests.add(GUEST)
        cs_api = await self.homeserver.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.homeserver.stop()))
        self.folder = self.make_folder()
        self.config_file = self.folder / "mmr.yaml"
        self.write_config(cs_api)
        await self.start_server()
        self._agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))

    def make_folder(self) -> Path:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        return folder

    def write_config(self, cs_api: str) -> None:
        settings: dict[str, Any] = {
            "repo": {"logDirectory": "-", "bindAddress": "127.0.0.1"},
            "homeservers": [{"name": HOST, "csApi": cs_api, "backoffAt": 10}],
            "admins": [ADMIN],
            "sharedSecretAuth": {"enabled": True, "token": SHARED_SECRET},
            "accessTokens": {"maxCacheTimeSeconds": 60},
            "rateLimit": {"enabled": False},
            "uploads": {"minBytes": 0, "minFreeBytes": 0},
            "datastores": [
                {
                    "type": "file",
                    "id": "folder",
                    "forKinds": ["all"],
                    "opts": {"path": str(self.media_folder)},
                }
            ],
        }
        if self.engine == "postgres":
            settings["database"] = {"postgres": create_database()}
        for section, values in self.config.items():
            if isinstance(values, dict) and isinstance(settings.get(section), dict):
                settings[section] = {**settings[section], **values}
            else:
                settings[section] = values
        self.config_file.write_text(yaml.safe_dump(settings))
        self.config_file.chmod(0o600)

    @property
    def media_folder(self) -> Path:
        return self.folder / "media"

    async def start_server(self) -> None:
        self.server = MediaRepoServer(load_config([self.config_file]), reactor)
        await self.server.start()
        try:
            self._port = listen_tcp(reactor, 0, self.server.site, "127.0.0.1")
        except BaseException:
            # Its threads would keep the test process from ending.
            await self.server.stop()
            raise
        self.base = f"http://127.0.0.1:{self._port.getHost().port}"
        self.addCleanup(lambda: Deferred.fromCoroutine(self.stop_server()))

    async def stop_server(self) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            await port.stopListening()
            await self.server.stop()

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = "alice-token",
        body: Any = None,
        headers: dict[str, str] | None = None,
        host: str = HOST,
    ) -> Answer:
        """One request on a connection of its own."""
        sent = {"Host": host, **(headers or {})}
        if token is not None and "Authorization" not in sent:
            sent["Authorization"] = f"Bearer {token}"
        response = await treq.request(
            method,
            self.base + path,
            headers=sent,
            data=body,
            agent=self._agent,
            allow_redirects=False,
            unbuffered=False,
        )
        content = await response.content()
        received = {
            name.decode().lower(): ", ".join(value.decode() for value in values)
            for name, values in response.headers.getAllRawHeaders()
        }
        return Answer(response.code, received, content)

    async def get(self, path: str, **kwargs: Any) -> Answer:
        return await self.request("GET", path, **kwargs)

    async def upload(
        self,
        data: bytes,
        content_type: str = "image/png",
        filename: str | None = None,
        token: str | None = "alice-token",
    ) -> str:
        """Upload, and give the media id."""
        query = f"?filename={filename}" if filename else ""
        answer = await self.request(
            "POST",
            "/_matrix/media/v3/upload" + query,
            body=data,
            headers={"Content-Type": content_type},
            token=token,
        )
        assert answer.status == 200, answer
        origin, _, media_id = (
            answer.json["content_uri"].removeprefix("mxc://").partition("/")
        )
        assert origin == HOST
        return str(media_id)

    async def create(self, token: str = "alice-token") -> str:
        """Reserve an id for an upload, and give it."""
        answer = await self.request("POST", "/_matrix/media/v1/create", token=token)
        assert answer.status == 200, answer
        return str(answer.json["content_uri"].rpartition("/")[2])

    async def put(self, media_id: str, data: bytes, **kwargs: Any) -> Answer:
        """Fill a reserved id."""
        path = f"/_matrix/media/v3/upload/{HOST}/{media_id}"
        return await self.request("PUT", path, body=data, **kwargs)

    async def download(self, media_id: str, **kwargs: Any) -> Answer:
        """The media, as a signed-in client gets it."""
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
        return await self.get(path, **kwargs)

    async def thumbnail(
        self, media_id: str, query: str = "width=96&height=96", **kwargs: Any
    ) -> Answer:
        """A thumbnail, as a signed-in client gets it."""
        path = f"/_matrix/client/v1/media/thumbnail/{HOST}/{media_id}?{query}"
        return await self.get(path, **kwargs)

    async def wire(self) -> Wire:
        """A connection that sends exactly what it is told to."""
        wire = await Wire.connect(reactor, self._port.getHost().port)
        self.addCleanup(wire.abort)
        return wire

    def head(
        self,
        method: str = "POST",
        path: str = "/_matrix/media/v3/upload",
        *lines: str,
        token: str | None = "alice-token",
    ) -> bytes:
        """The head of a request, for `wire`."""
        if token is not None:
            lines = (f"Authorization: Bearer {token}", *lines)
        return "\r\n".join(
            [f"{method} {path} HTTP/1.1", f"Host: {HOST}", *lines, "", ""]
        ).encode()

    @property
    def store(self) -> FileDatastore:
        """The server's only datastore."""
        store = self.server.datastores.get("folder")
        assert isinstance(store, FileDatastore)
        return store

    async def record(self, media_id: str) -> MediaRecord:
        """The record of a media, from the database."""
        record = await self.server.stores.media.get_media(HOST, media_id)
        assert record is not None
        return record

    async def path_of(self, media_id: str) -> Path:
        """The file of a media."""
        return self.media_folder / (await self.record(media_id)).location

    async def quarantine(self, media_id: str) -> None:
        """Quarantine a media, as its admin endpoints do."""
        record = await self.record(media_id)
        changed = await self.server.db.interaction(
            "quarantine",
            self.server.stores.media.set_quarantined_by_hash_txn,
            record.sha256_hash,
            True,
        )
        for mxc in changed:
            self.server.media_records.invalidate(mxc)

    async def is_empty(self) -> bool:
        """Whether no upload has left anything: file, row, intent, reservation."""
        tables = ("media", "mmr_object_intents", "mmr_quota_reservations")
        counts = [await self.count(table) for table in tables]
        return not self.files() and counts == [0, 0, 0]

    def files(self) -> list[Path]:
        """Every file in the media folder, temporary ones too."""
        return [path for path in self.media_folder.rglob("*") if path.is_file()]

    async def count(self, table: str) -> int:
        """Rows of a table."""
        row = await self.server.db.fetch_one(
            "count", f"SELECT count(*) FROM {table}", ()
        )
        assert row is not None
        return int(row[0])
