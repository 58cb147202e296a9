"""Sockets that send files, and bodies that are JSON."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from mmr.errors import MatrixError
from mmr.http.body import RequestBody
from mmr.http.listen import MediaPort, listen_unix
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, MediaResponse, Response
from mmr.http.sendfile import FileEndedEarly, FileTransport

from tests.http.answers import FileObject
from tests.http.support import HEAD, HttpTestCase, RawClient, a_route


class OpenFactory(Factory):
    """Accepts whatever comes, as the site does when it has room."""

    noisy = False
    free_connections = 10

    def __init__(self) -> None:
        self.connected: Deferred[Protocol] = Deferred()

    def buildProtocol(self, addr: object) -> Protocol:
        protocol = Protocol()
        reactor.callLater(0, self.connected.callback, protocol)
        return protocol


class FileTransportTests(TestCase):
    timeout = 20

    async def start(self) -> FileTransport:
        factory = OpenFactory()
        port = MediaPort(0, factory, 5, "127.0.0.1", reactor)
        port.startListening()
        self.addCleanup(port.stopListening)
        self.client = socket.create_connection(
            ("127.0.0.1", port.getHost().port), timeout=5
        )
        self.client.setblocking(False)
        self.addCleanup(self._close)
        self.protocol = await factory.connected
        assert isinstance(self.protocol.transport, FileTransport)
        return self.protocol.transport

    async def _close(self) -> None:
        self.client.close()
        self.protocol.transport.abortConnection()
        await task.deferLater(reactor, 0.05, lambda: None)

    async def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                piece = self.client.recv(1 << 20)
            except BlockingIOError:
                await task.deferLater(reactor, 0.005, lambda: None)
                continue
            if not piece:
                break
            data += piece
        return data

    def file(self, content: bytes) -> int:
        file = tempfile.TemporaryFile()
        self.addCleanup(file.close)
        file.write(content)
        file.flush()
        return file.fileno()

    async def test_writes_and_files_keep_their_order(self) -> None:
        transport = await self.start()
        content = os.urandom(3_000_000)
        transport.write(b"head")
        await_first = transport.send_file(self.file(content), 10, 2_000_000)
        data = await self.read(2_000_004)
        await await_first
        transport.write(b"tail")
        await_second = transport.send_file(self.file(b"second"), 0, 6)
        data += await self.read(10)
        await await_second
        self.assertEqual(data, b"head" + content[10:2_000_010] + b"tailsecond")
        self.assertFalse(transport.has_unsent)
        self.assertEqual(transport.bytes_sent, len(data))

    async def test_what_the_socket_does_not_take_at_once_follows(self) -> None:
        transport = await self.start()
        pieces = [os.urandom(size) for size in (10, 8_000_000, 0, 7, 6_000_000)]
        transport.writeSequence(pieces[:3])
        self.assertTrue(transport.has_unsent)
        transport.writeSequence(pieces[3:])
        whole = b"".join(pieces)
        self.assertEqual(await self.read(len(whole)), whole)
        self.assertEqual(transport.bytes_sent, len(whole))
        self.assertFalse(transport.has_unsent)

    async def test_a_write_to_a_client_that_left_is_no_error(self) -> None:
        transport = await self.start()
        self.client.close()
        for _ in range(3):
            transport.writeSequence([b"x" * 1000, b"y"])
            await task.deferLater(reactor, 0.01, lambda: None)
        self.assertFalse(transport.connected)

    async def test_nothing_lands_within_a_file(self) -> None:
        transport = await self.start()
        sending = transport.send_file(self.file(b"x" * 30_000_000), 0, 30_000_000)
        for attempt in (
            lambda: transport.send_file(self.file(b"y"), 0, 1),
            lambda: transport.write(b"y"),
            lambda: transport.writeSequence([b"y"]),
        ):
            self.assertRaises(RuntimeError, attempt)
        sending.addErrback(lambda _: None)

    async def test_a_reader_that_pauses_holds_no_memory(self) -> None:
        """R64: the socket is the only buffer."""
        transport = await self.start()
        sending = transport.send_file(self.file(b"x" * 50_000_000), 0, 50_000_000)
        await task.deferLater(reactor, 0.1, lambda: None)
        self.assertTrue(transport.has_unsent)
        self.assertEqual(transport.dataBuffer, b"")
        sending.addErrback(lambda _: None)

    async def test_failures_end_the_transfer_and_the_connection(self) -> None:
        transport = await self.start()
        with self.assertRaises(FileEndedEarly):
            await transport.send_file(self.file(b"short"), 0, 100)
        self.assertEqual(await self.read(100), b"short")
        with self.assertRaises(Exception):  # noqa: B017
            await transport.send_file(self.file(b"x"), 0, 1)

    async def test_a_bad_descriptor_is_an_error(self) -> None:
        transport = await self.start()
        with self.assertRaises(OSError):
            await transport.send_file(99_999, 0, 100)

    async def test_a_client_that_leaves_ends_the_transfer(self) -> None:
        """R66."""
        transport = await self.start()
        sending = transport.send_file(self.file(b"x" * 50_000_000), 0, 50_000_000)
        await task.deferLater(reactor, 0.05, lambda: None)
        self.client.close()
        with self.assertRaises(Exception):  # noqa: B017
            await sending


class UnixSocketTests(HttpTestCase):
    async def test_requests_and_files_pass_through_a_unix_socket(self) -> None:
        """R74: whoever can open it is a trusted proxy."""
        seen: list[str] = []

        async def file(request: MediaRequest) -> Response:
            seen.append(request.client_address)
            source = FileObject(b"x" * 1_000_000)
            return MediaResponse(
                content_type="image/png", name=None, size=1_000_000, source=source
            )

        site = self.serve(a_route("/file", file))
        path = Path(self.mktemp())
        port = listen_unix(reactor, str(path), site)
        self.addCleanup(port.stopListening)
        client = await connectProtocol(
            UNIXClientEndpoint(reactor, str(path)), RawClient()
        )
        self.clients.append(client)
        forwarded = b"X-Forwarded-For: 192.0.2.1\r\n"
        client.send(b"GET /file HTTP/1.1\r\n" + HEAD + forwarded + b"\r\n")
        self.assertEqual(len((await client.reply()).body), 1_000_000)
        self.assertEqual(seen, ["192.0.2.1"])


class JsonBodyTests(HttpTestCase):
    async def test_json_bodies_are_objects_of_limited_size(self) -> None:
        """R62."""

        async def echo(request: MediaRequest) -> Response:
            return JsonResponse(await request.body.json_object(100))

        self.serve(a_route("/echo", echo, ("POST",), reads_body=True))
        for body, status, errcode in [
            (b'{"a":1}', 200, None),
            (b"", 200, None),
            (b'{"a":"' + b"x" * 92 + b'"}', 200, None),
            (b'{"a":"' + b"x" * 93 + b'"}', 413, "M_TOO_LARGE"),
            (b"{", 400, "M_NOT_JSON"),
            (b'{"a":"\xff"}', 400, "M_NOT_JSON"),
            (b"[" * 100, 400, "M_NOT_JSON"),
            (b"[]", 400, "M_BAD_JSON"),
        ]:
            head = b"POST /echo HTTP/1.1\r\n" + HEAD
            length = b"Content-Length: %d\r\n\r\n" % len(body)
            reply = await self.ask(head + length + body)
            self.assertEqual(reply.status, status, body)
            self.assertEqual(reply.json.get("errcode"), errcode)

    async def test_a_limit_set_late_still_holds(self) -> None:
        """R65."""
        body = RequestBody(None)
        body.deliver(b"x" * 11)
        with self.assertRaises(MatrixError):
            body.limit(10)
        with self.assertRaises(MatrixError):
            await anext(body)
