"""A whole server in the test's process, spoken to over HTTP on loopback.

Nothing is mocked but the homeserver, which is a stub on loopback (`tests.homeserver`):
requests go through the real site, the real pools, SQLite and a folder.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import attrs
import yaml
from PIL import Image

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from mmr.config import load_config
from mmr.http.listen import listen_tcp
from mmr.server import MediaRepoServer

from tests.homeserver import StubHomeserver

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


@attrs.frozen
class Answer:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


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


class ServerCase(TestCase):
    """Starts a server before each test and stops it after.

    Attributes:
        config: Merged over the base configuration, section by section.
    """

    timeout = 60
    config: dict[str, Any] = {}

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
        self._port = listen_tcp(reactor, 0, self.server.site, "127.0.0.1")
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
