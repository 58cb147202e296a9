"""A server whose previews reach stub sites on 127.0.0.1, and nothing else on loopback.

Only DNS is a stub. What listens on 127.0.0.2 or ::1 stands for the inside of a network:
nobody may ever connect to it.
"""

from __future__ import annotations

import gzip
from typing import Any, ClassVar
from urllib.parse import quote

import attrs

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from mmr.config import load_config
from mmr.http.listen import listen_tcp
from mmr.server import MediaRepoServer

from tests.harness import Answer, ServerCase, png
from tests.stub_web import LOOPBACK, Script, Seen, StubConnection, StubDns, StubServer

INSIDE = "127.0.0.2"
PREVIEW = "/_matrix/client/v1/media/preview_url"
NO_PREVIEW = {
    "errcode": "M_NOT_FOUND",
    "error": "No preview is available for this URL",
    "mr_errcode": "M_NOT_FOUND",
}
HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Ignored</title>
<meta property="og:title" content="The sea &amp; the sky">
<meta property="og:description" content="A long walk.">
<meta property="og:site_name" content="Walks">
<meta property="og:type" content="article">
<meta property="og:image" content="/sea.png">
</head><body><h1>Ignored, too</h1></body></html>"""


class Dns(StubDns):
    """Takes the place of the server's own resolver."""

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""


@attrs.frozen
class Reply:
    """What a path answers."""

    body: bytes = b""
    headers: dict[str, str] = attrs.Factory(dict)
    status: int = 200

    def script(self, connection: StubConnection, _: Seen) -> None:
        connection.reply(self.status, self.body, self.headers)


def page(html: bytes | str, content_type: str = "text/html; charset=utf-8") -> Reply:
    """A page."""
    data = html.encode() if isinstance(html, str) else html
    return Reply(data, {"Content-Type": content_type})


def picture(data: bytes | None = None, content_type: str = "image/png") -> Reply:
    """A picture."""
    data = png(64, 48) if data is None else data
    return Reply(data, {"Content-Type": content_type})


def zipped(reply: Reply) -> Reply:
    """The same, compressed."""
    headers = {**reply.headers, "Content-Encoding": "gzip"}
    return attrs.evolve(reply, body=gzip.compress(reply.body), headers=headers)


class PreviewCase(ServerCase):
    """Has a site, ``site.example``.

    Attributes:
        site: The server.
        paths: What it answers, by path; 404 for all others.
        previews: The section of the configuration.
    """

    previews: ClassVar[dict[str, Any]] = {}

    async def setUp(self) -> None:
        self.dns = Dns({"site.example": [LOOPBACK]})
        self.paths: dict[str, Reply | Script] = {}
        self.site = await self.serve()
        self.site.script = self._answer
        await super().setUp()

    def write_config(self, cs_api: str) -> None:
        section = {
            "exemptNetworks": [f"{LOOPBACK}/32"],
            **self.previews,
        }
        own = {"urlPreviews": section}
        self.config = {**type(self).config, **own}  # type: ignore[misc]
        super().write_config(cs_api)

    async def start_server(self) -> None:
        self.server = MediaRepoServer(load_config([self.config_file]), reactor)
        self.server.resolver = self.dns  # type: ignore[assignment]
        await self.server.start()
        self._port = listen_tcp(reactor, 0, self.server.site, LOOPBACK)
        self.base = f"http://{LOOPBACK}:{self._port.getHost().port}"
        self.addCleanup(lambda: Deferred.fromCoroutine(self.stop_server()))

    async def serve(self, interface: str = LOOPBACK, **kwargs: Any) -> StubServer:
        """One more server."""
        server = await StubServer(interface=interface, **kwargs).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(server.stop()))
        return server

    def _answer(self, connection: StubConnection, seen: Seen) -> Any:
        reply = self.paths.get(seen.target, Reply(status=404))
        script = reply.script if isinstance(reply, Reply) else reply
        return script(connection, seen)

    def url(self, path: str = "/") -> str:
        """A URL on the site."""
        return self.site.url(path, "site.example")

    def asked(self, path: str | None = None) -> int:
        """How many requests the site has seen, for one path or in all."""
        return sum(path in (None, seen.target) for seen in self.site.requests)

    async def preview(self, url: str, query: str = "", **kwargs: Any) -> Answer:
        """Ask for a preview."""
        return await self.get(f"{PREVIEW}?url={quote(url, safe='')}{query}", **kwargs)

    async def shown(self, url: str, query: str = "", **kwargs: Any) -> dict[str, Any]:
        """The preview, which there must be."""
        answer = await self.preview(url, query, **kwargs)
        self.assertEqual(answer.status, 200, answer)
        return dict(answer.json)

    async def assert_none(self, url: str, **kwargs: Any) -> None:
        """There is no preview, and no more is told than that (R19)."""
        answer = await self.preview(url, **kwargs)
        self.assertEqual((answer.status, answer.json), (404, NO_PREVIEW))

    async def at_once(self, *urls: str, token: str = "alice-token") -> list[Answer]:
        """Ask for several previews at the same time."""
        asking = [
            Deferred.fromCoroutine(self.preview(url, token=token)) for url in urls
        ]
        return list(await gatherResults(asking))
