"""A site on a loopback socket, and a client that sends raw bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import attrs

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.trial.unittest import TestCase

from mmr.http.access_log import AccessLog
from mmr.http.addresses import ClientAddresses
from mmr.http.limits import HttpLimits
from mmr.http.listen import MediaPort, listen_tcp
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route, Router
from mmr.http.site import MediaSite
from mmr.types import Access, Requester
from mmr.util.clock import Clock

ANN = Requester(user_id="@ann:example.org")
HEAD = b"Host: example.org\r\n"


@attrs.frozen
class Reply:
    """An answer as it came."""

    status: int
    headers: dict[bytes, list[bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        values = self.headers.get(name, [])
        assert len(values) < 2, (name, values)
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RawClient(Protocol):
    """Collects what the server says."""

    def __init__(self) -> None:
        self.received = b""
        self.is_closed = False
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._check()

    def connectionLost(self, reason: object = None) -> None:
        self.is_closed = True
        self._check()

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def abort(self) -> None:
        self.transport.abortConnection()

    async def until(self, condition: Callable[[], bool]) -> None:
        if not condition():
            waiting: Deferred[None] = Deferred()
            self._waiting.append((condition, waiting))
            await waiting.addTimeout(5, reactor)

    async def closed(self) -> bytes:
        await self.until(lambda: self.is_closed)
        return self.received

    async def reply(self, *, to_head: bool = False) -> Reply:
        """Take the next answer from what was received."""
        await self.until(lambda: b"\r\n\r\n" in self.received)
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        lines = head.split(b"\r\n")
        headers: dict[bytes, list[bytes]] = {}
        for line in lines[1:]:
            name, _, value = line.partition(b": ")
            headers.setdefault(name.lower(), []).append(value)
        status = int(lines[0].split(b" ")[1])
        if to_head or status in (100, 204, 304):
            return Reply(status, headers, b"")
        if b"transfer-encoding" in headers:
            return Reply(status, headers, await self._chunks())
        length = int(headers[b"content-length"][0])
        return Reply(status, headers, await self._take(length))

    async def _take(self, length: int) -> bytes:
        await self.until(lambda: len(self.received) >= length or self.is_closed)
        taken, self.received = self.received[:length], self.received[length:]
        return taken

    async def _chunks(self) -> bytes:
        body = b""
        while True:
            await self.until(lambda: b"\r\n" in self.received)
            size, self.received = self.received.split(b"\r\n", 1)
            body += await self._take(int(size, 16))
            await self._take(2)
            if int(size, 16) == 0:
                return body

    def _check(self) -> None:
        waiting, self._waiting = self._waiting, []
        for condition, deferred in waiting:
            if condition():
                deferred.callback(None)
            else:
                self._waiting.append((condition, deferred))


class OpenGuard:
    """Lets everybody in as Ann."""

    def cached(self, request: MediaRequest, access: Access) -> Requester | None:
        return ANN

    def proof(self, request: MediaRequest, access: Access) -> None:
        """Nothing is kept."""

    async def authenticate(self, request: MediaRequest, access: Access) -> Requester:
        raise AssertionError("cached() knows everybody")


def a_route(
    path: str,
    handler: Callable[..., Any],
    methods: Sequence[str] = ("GET",),
    access: Access = Access.USER,
    reads_body: bool = False,
) -> Route:
    return Route(
        methods=tuple(methods),
        path=path,
        action="test",
        access=access,
        handler=handler,
        reads_body=reads_body,
    )


async def hello(request: MediaRequest) -> Response:
    return JsonResponse({"hello": request.host})


async def count_body(request: MediaRequest) -> Response:
    return JsonResponse({"bytes": sum([len(batch) async for batch in request.body])})


class HttpTestCase(TestCase):
    """Starts sites, and connects to them.

    The site's time stands still until `wait` moves it; sockets are real.
    """

    timeout = 20

    def setUp(self) -> None:
        self.time = task.Clock()
        self.clients: list[RawClient] = []
        self.log_lines: list[str] = []
        self.finished: list[MediaRequest] = []

    def serve(self, *routes: Route, **options: Any) -> MediaSite:
        """Start a site with these routes, ``GET /hello`` and ``POST /count``."""
        clock = Clock(self.time)
        standard = (
            a_route("/hello", hello),
            a_route("/count", count_body, methods=("POST",), reads_body=True),
        )
        options.setdefault("guard", OpenGuard())
        options.setdefault("addresses", ClientAddresses())
        options.setdefault("limits", HttpLimits())
        site = MediaSite(
            router=Router((*standard, *routes)),
            config_for_host=lambda host: (
                SimpleNamespace(name=host) if host == "example.org" else None
            ),
            configured_hosts=lambda: ["example.org"],
            clock=clock,
            access_log=AccessLog(self.log_lines.append, "8000", clock),
            observers=[self.finished.append],
            **options,
        )
        self.site = site
        self.port = listen_tcp(reactor, 0, site, "127.0.0.1")
        self.addCleanup(self._stop, site, self.port)
        return site

    async def connect(self) -> RawClient:
        client = RawClient()
        connected: Deferred[None] = Deferred()
        client.connectionMade = lambda: connected.callback(None)
        factory = ClientFactory.forProtocol(lambda: client)
        factory.noisy = False
        reactor.connectTCP("127.0.0.1", self.port.getHost().port, factory)
        await connected
        self.clients.append(client)
        return client

    async def ask(self, data: bytes) -> Reply:
        """Send bytes on a connection of their own, and take the first answer."""
        client = await self.connect()
        client.send(data)
        return await client.reply(to_head=data.startswith(b"HEAD"))

    async def get(self, target: bytes, *headers: bytes) -> Reply:
        lines = b"".join(header + b"\r\n" for header in headers)
        return await self.ask(b"GET %s HTTP/1.1\r\n%s%s\r\n" % (target, HEAD, lines))

    async def wait(self, seconds: float) -> None:
        """Let the site's time pass, second by second, and its sockets speak."""
        await self.settle()
        for _ in range(int(seconds)):
            self.time.advance(1)
        await self.settle()

    async def settle(self) -> None:
        """Let the reactor deliver what is on its way on loopback."""
        await task.deferLater(reactor, 0.05, lambda: None)

    async def _stop(self, site: MediaSite, port: MediaPort) -> None:
        await maybeDeferred(port.stopListening)
        for client in self.clients:
            if not client.is_closed:
                client.abort()
        for channel in list(site.connections):
            channel.abort()
        while site.connections:
            await task.deferLater(reactor, 0.01, lambda: None)
