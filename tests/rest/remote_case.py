"""A server beside a remote one, over TLS on loopback; nothing between is faked.

Only DNS is a stub: it says that every remote name is at 127.0.0.1.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from mmr.config import load_config
from mmr.crypto.keys import SigningKey, encode_base64
from mmr.crypto.signing import canonical_json
from mmr.crypto.x_matrix import XMatrix, request_object
from mmr.http.listen import listen_tcp
from mmr.server import MediaRepoServer
from mmr.storage.media import MediaRecord

from tests.crypto.documents import document
from tests.harness import HOST, Answer, ServerCase
from tests.stub_web import (
    LOOPBACK,
    Seen,
    StubCa,
    StubConnection,
    StubDns,
    StubServer,
    test_ca,
)
from tests.wire import Wire

CA: StubCa = test_ca()
OUR_KEY = SigningKey("ours", b"o" * 32)
THEIR_KEY = SigningKey("theirs", b"t" * 32)
BOUNDARY = "a-boundary"
ENVELOPE_TYPE = {"Content-Type": f"multipart/mixed; boundary={BOUNDARY}"}
DOWNLOAD = "/_matrix/client/v1/media/download"
KEYS = "/_matrix/key/v2/server"
_PIECE_BYTES = 64 * 1024
_KEY_LIFE_MS = 24 * 3600 * 1000


def envelope(
    content: bytes = b"", content_type: str = "image/png", end: str = "--"
) -> bytes:
    """What the federation endpoint answers."""
    return opening(content_type) + content + closing(end)


def opening(content_type: str = "image/png", first: bytes = b"{}") -> bytes:
    """Everything before the file."""
    json_part = f"--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n".encode()
    lines = f"Content-Type: {content_type}\r\n"
    lines += 'Content-Disposition: inline; filename="a.png"\r\n'
    return json_part + first + f"\r\n--{BOUNDARY}\r\n{lines}\r\n".encode()


def closing(end: str = "--") -> bytes:
    """Everything behind it."""
    return f"\r\n--{BOUNDARY}{end}".encode()


class Dns(StubDns):
    """Takes the place of the server's own resolver."""

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""


class RemoteCase(ServerCase):
    """Has a remote server that answers by script and publishes its key.

    Attributes:
        remote: The server.
        name: Its server name; the port is part of it.
        answers: What it answers to media requests, by script; see `script`.
    """

    has_key = True

    async def setUp(self) -> None:
        self.dns = Dns({"remote.example": [LOOPBACK], "cdn.example": [LOOPBACK]})
        self.remote = await self.serve("remote.example")
        self.remote.script = self._answer
        self.name = f"remote.example:{self.remote.port}"
        self.media: Callable[[StubConnection, Seen], Awaitable[None] | None]
        self.reply_with(404, b'{"errcode": "M_NOT_FOUND", "error": "?"}')
        self.keys = document(self.name, THEIR_KEY, valid_until=self.later())
        await super().setUp()

    def later(self, ms: int = _KEY_LIFE_MS) -> int:
        """A time by the wall clock."""
        return int(time.time() * 1000) + ms

    def write_config(self, cs_api: str) -> None:
        super().write_config(cs_api)
        settings = yaml.safe_load(self.config_file.read_text())
        [homeserver] = settings["homeservers"]
        if self.has_key:
            homeserver["signingKeyPath"] = str(self._write_key())
        federation = settings.setdefault("federation", {})
        federation.setdefault("exemptNetworks", ["127.0.0.0/8"])
        federation.setdefault("notaries", [])
        federation["caFile"] = str(CA.write(self.folder / "ca.pem"))
        self.change_config(settings)
        self.config_file.write_text(yaml.safe_dump(settings))

    def change_config(self, settings: dict[str, Any]) -> None:
        """For tests that need another one."""

    def _write_key(self) -> Path:
        path = self.folder / "signing.key"
        path.write_text(f"ed25519 {OUR_KEY.version} {encode_base64(OUR_KEY.seed)}\n")
        path.chmod(0o600)
        return path

    async def start_server(self) -> None:
        self.server = MediaRepoServer(load_config([self.config_file]), reactor)
        self.server.resolver = self.dns  # type: ignore[assignment]
        await self.server.start()
        self._port = listen_tcp(reactor, 0, self.server.site, "127.0.0.1")
        self.base = f"http://127.0.0.1:{self._port.getHost().port}"
        self.addCleanup(lambda: Deferred.fromCoroutine(self.stop_server()))

    async def serve(self, *names: str) -> StubServer:
        """One more server with a certificate for those names."""
        server = await StubServer(certificate=CA.issue(*names)).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(server.stop()))
        return server

    # The remote server.

    def _answer(self, connection: StubConnection, seen: Seen) -> Awaitable[None] | None:
        if seen.target == KEYS:
            connection.reply(200, json.dumps(self.keys).encode())
            return None
        return self.media(connection, seen)

    def reply_with(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        """Answer every request for media so."""

        def media(connection: StubConnection, _: Seen) -> None:
            connection.reply(status, body, headers)

        self.media = media

    def reply_file(self, content: bytes, content_type: str = "image/png") -> None:
        """Give this file to everybody."""
        self.reply_with(200, envelope(content, content_type), ENVELOPE_TYPE)

    def reply_raw(self, *pieces: bytes, close: bool = False) -> None:
        """Send these bytes, as they are."""

        def media(connection: StubConnection, _: Seen) -> None:
            for piece in pieces:
                connection.send(piece)
            if close:
                connection.close()

        self.media = media

    def hold(self) -> Deferred[StubConnection]:
        """Send the head of an envelope, and let the test send the rest."""
        held: Deferred[StubConnection] = Deferred()

        def media(connection: StubConnection, _: Seen) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")
            connection.send(f"Content-Type: {ENVELOPE_TYPE['Content-Type']}".encode())
            connection.send(b"\r\n\r\n")
            send_chunk(connection, opening())
            held.callback(connection)

        self.media = media
        return held

    @property
    def asked(self) -> list[Seen]:
        """The requests for media that the remote server got."""
        return [seen for seen in self.remote.requests if seen.target != KEYS]

    # Our side.

    def path(self, media_id: str = "abc", prefix: str = DOWNLOAD) -> str:
        """Of a remote media."""
        return f"{prefix}/{self.name}/{media_id}"

    async def fetch(self, media_id: str = "abc", **more: Any) -> Answer:
        """A remote media, as a signed-in client gets it."""
        return await self.get(self.path(media_id), **more)

    async def fetching(self, media_id: str = "abc", *lines: str) -> Wire:
        """The same, with the bytes as they come."""
        wire = await self.wire()
        wire.send(self.head("GET", self.path(media_id), *lines))
        return wire

    async def remote_record(self, media_id: str = "abc") -> MediaRecord | None:
        """Its record, from the database."""
        return await self.server.stores.media.get_media(self.name, media_id)

    # Requests of other servers.

    def signature(
        self,
        target: str,
        *,
        key: SigningKey = THEIR_KEY,
        origin: str | None = None,
        signed_for: str = HOST,
        destination: str | None = HOST,
    ) -> dict[str, str]:
        """The header that proves who is asking."""
        origin = origin or self.name
        message = canonical_json(request_object("GET", target, origin, signed_for))
        entry = XMatrix(origin, destination, key.key_id, key.sign(message))
        return {"Authorization": entry.header().decode()}

    async def ask_us(self, target: str, host: str = HOST, **how: Any) -> Answer:
        """A request of the remote server."""
        headers = self.signature(
            target, **{"signed_for": host, "destination": host, **how}
        )
        return await self.get(target, headers=headers, host=host)


def send_chunk(connection: StubConnection, data: bytes) -> None:
    """Send a chunk; without data, the last one."""
    connection.send(b"%x\r\n%b\r\n" % (len(data), data))


def send_file(connection: StubConnection, content: bytes) -> None:
    """Send what `RemoteCase.hold` has left to be sent."""
    send_chunk(connection, content)
    send_chunk(connection, closing())
    send_chunk(connection, b"")


async def body_of(wire: Wire) -> bytes:
    """The body of a chunked answer, which has to end in order."""
    await wire._until(lambda: wire.received.endswith(b"\r\n0\r\n\r\n"))
    head, _, rest = wire.received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), wire.received[:500]
    assert not wire.is_closed, "it was broken off"
    body = chunks_of(rest)
    wire.received = b""
    return body


def chunks_of(data: bytes) -> bytes:
    """What the whole chunks of a body hold."""
    body = []
    while data:
        size, _, data = data.partition(b"\r\n")
        count = int(size or b"0", 16)
        if len(data) < count:
            break
        body.append(data[:count])
        data = data[count + 2 :]
    return b"".join(body)


@implementer(IPushProducer)
class Pump:
    """Sends zeros without end, as fast as the other side takes them.

    Attributes:
        sent_bytes: So far.
    """

    def __init__(self, connection: StubConnection) -> None:
        self.sent_bytes = 0
        self._connection = connection
        self._is_stopped = False
        self._paused_since: float | None = None
        self._transport: Any = connection.transport
        self._transport.registerProducer(self, True)
        self.resumeProducing()

    @property
    def is_paused_for_long(self) -> bool:
        """Nothing has been taken for a tenth of a second."""
        since = self._paused_since
        return since is not None and time.monotonic() - since > 0.1

    def resumeProducing(self) -> None:
        """Go on."""
        self._paused_since = None
        reactor.callLater(0, self._send)  # type: ignore[attr-defined]

    def pauseProducing(self) -> None:
        """Enough for now."""
        self._paused_since = time.monotonic()

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._is_stopped = True

    def stop(self) -> None:
        """End the file in order."""
        self._is_stopped = True
        self._transport.unregisterProducer()
        send_chunk(self._connection, closing())
        send_chunk(self._connection, b"")

    def _send(self) -> None:
        if not self._is_stopped and self._paused_since is None:
            send_chunk(self._connection, bytes(_PIECE_BYTES))
            self.sent_bytes += _PIECE_BYTES
            reactor.callLater(0, self._send)  # type: ignore[attr-defined]
