"""Connections: order, limits, time, and what happens when somebody leaves."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from mmr.errors import forbidden, too_large
from mmr.http.addresses import ClientAddresses
from mmr.http.body import MAX_BUFFERED_BYTES, MAX_UNREAD_BYTES, ClientGone
from mmr.http.limits import HttpLimits
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response

from tests.http.support import HEAD, HttpTestCase, a_route

HELLO = b"GET /hello HTTP/1.1\r\n" + HEAD + b"\r\n"


def post(path: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    extra = b"".join(line + b"\r\n" for line in lines)
    return b"POST " + path + b" HTTP/1.1\r\n" + HEAD + extra + b"\r\n" + body


class PersistenceTests(HttpTestCase):
    async def test_a_connection_serves_several_requests(self) -> None:
        self.serve()
        client = await self.connect()
        for _ in range(3):
            client.send(HELLO)
            reply = await client.reply()
            self.assertEqual(reply.json, {"hello": "example.org"})
            self.assertIsNone(reply.header(b"connection"))

    async def test_pipelined_answers_keep_their_order(self) -> None:
        """R63."""
        first: Deferred[None] = Deferred()

        async def slow(request: MediaRequest) -> Response:
            await first
            return JsonResponse({"slow": True})

        self.serve(a_route("/slow", slow))
        client = await self.connect()
        client.send(b"GET /slow HTTP/1.1\r\n" + HEAD + b"\r\n" + HELLO * 2)
        await self.settle()
        self.assertEqual(client.received, b"")
        first.callback(None)
        self.assertEqual((await client.reply()).json, {"slow": True})
        self.assertEqual((await client.reply()).json, {"hello": "example.org"})
        self.assertEqual((await client.reply()).json, {"hello": "example.org"})

    async def test_a_head_may_come_byte_by_byte(self) -> None:
        self.serve()
        client = await self.connect()
        client.transport.setTcpNoDelay(True)
        for index in range(len(HELLO)):
            client.send(HELLO[index : index + 1])
            if index % 10 == 0:
                await self.settle()
        self.assertEqual((await client.reply()).status, 200)

    async def test_an_empty_line_before_a_request_is_overlooked(self) -> None:
        self.serve()
        self.assertEqual((await self.ask(b"\r\n" + HELLO)).status, 200)

    async def test_close_is_honoured(self) -> None:
        self.serve()
        client = await self.connect()
        client.send(b"GET /hello HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n")
        self.assertEqual((await client.reply()).header(b"connection"), b"close")
        await client.closed()

    async def test_http_1_0_stays_only_on_request(self) -> None:
        self.serve()
        client = await self.connect()
        line = b"GET /hello HTTP/1.0\r\n" + HEAD
        client.send(line + b"Connection: keep-alive\r\n\r\n")
        self.assertEqual((await client.reply()).header(b"connection"), b"keep-alive")
        client.send(line + b"\r\n")
        self.assertEqual((await client.reply()).header(b"connection"), b"close")
        await client.closed()


class RefusalTests(HttpTestCase):
    async def test_smuggling_attempts_end_the_connection(self) -> None:
        """R63: as raw bytes, alone and pipelined."""
        attempts = [
            post(b"/count", b"Content-Length: 5", b"Transfer-Encoding: chunked"),
            post(b"/count", b"Content-Length: 5", b"Content-Length: 6"),
            post(b"/count", b"Content-Length: +5"),
            post(b"/count", b"Transfer-Encoding: gzip, chunked"),
            post(b"/count", b"Transfer-Encoding : chunked"),
            b"GET /hello HTTP/1.1\n" + HEAD + b"\n",
            b"GET /hello HTTP/1.1\r\nHost: example.org\r\n X: folded\r\n\r\n",
            post(b"/count", b"Transfer-Encoding: chunked", body=b"+5\r\nhello\r\n"),
            post(b"/count", b"Transfer-Encoding: chunked", body=b"0x5\r\nhello\r\n"),
            post(b"/count", b"Transfer-Encoding: chunked", body=b"5 \r\nhello\r\n"),
            post(b"/count", b"Transfer-Encoding: chunked", body=b"5\nhello\r\n"),
            post(b"/count", b"Transfer-Encoding: chunked", body=b"5\r\nhelloXX0"),
            post(b"/count", b"Transfer-Encoding: chunked", body=b"5;a\n\r\nhello"),
        ]
        self.serve()
        for attempt in attempts:
            for before in (0, 2):
                client = await self.connect()
                client.send(HELLO * before + attempt + HELLO)
                for _ in range(before):
                    self.assertEqual((await client.reply()).status, 200)
                reply = await client.reply()
                self.assertEqual(reply.status, 400, attempt)
                self.assertEqual(reply.header(b"connection"), b"close")
                self.assertEqual(reply.json["mr_errcode"], "M_BAD_REQUEST")
                client.transport.loseConnection()
                self.assertEqual(await client.closed(), b"", attempt)

    async def test_heads_are_limited(self) -> None:
        """R62: 16 KiB in all, 100 lines."""
        self.serve()
        filler = b"X: " + b"y" * 1000 + b"\r\n"
        fits = b"GET /hello HTTP/1.1\r\n" + HEAD + filler * 16 + b"\r\n"
        self.assertEqual((await self.ask(fits)).status, 200)
        for data, status in [
            (b"GET /hello HTTP/1.1\r\n" + HEAD + filler * 17 + b"\r\n", 431),
            (b"GET /hello HTTP/1.1\r\n" + HEAD + filler * 40, 431),
            (b"GET /hello HTTP/1.1\r\n" + HEAD + b"A: b\r\n" * 100 + b"\r\n", 431),
            (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 414),
            (b"GET /" + b"a" * 20000, 414),
            (b"GET /hello HTTP/2.0\r\n" + HEAD + b"\r\n", 505),
        ]:
            reply = await self.ask(data)
            self.assertEqual(reply.status, status)
            self.assertEqual(reply.header(b"x-content-type-options"), b"nosniff")

    async def test_a_refused_client_can_read_why_and_is_then_cut_off(self) -> None:
        """R62: at most 64 KiB of what it goes on to send is read."""
        self.serve(limits=HttpLimits(linger_seconds=2))
        client = await self.connect()
        client.send(b"BROKEN\r\n\r\n" + b"z" * 5_000_000)
        self.assertEqual((await client.reply()).status, 400)
        await self.wait(3)
        await client.closed()


class BodyTests(HttpTestCase):
    async def test_bodies_arrive_whole(self) -> None:
        self.serve()
        client = await self.connect()
        body = b"x" * 3_000_000
        client.send(post(b"/count", b"Content-Length: 3000000", body=body))
        self.assertEqual((await client.reply()).json, {"bytes": 3_000_000})
        chunks = b"ff\r\n" + b"y" * 255 + b"\r\n" + b"1;a=b\r\nz\r\n0\r\nT: r\r\n\r\n"
        client.send(post(b"/count", b"Transfer-Encoding: chunked", body=chunks))
        self.assertEqual((await client.reply()).json, {"bytes": 256})
        client.send(HELLO)
        self.assertEqual((await client.reply()).status, 200)

    async def test_continue_is_sent_when_the_body_is_wanted(self) -> None:
        """R65."""
        self.serve()
        client = await self.connect()
        lines = (b"Content-Length: 5", b"Expect: 100-continue")
        client.send(post(b"/count", *lines))
        self.assertEqual((await client.reply()).status, 100)
        client.send(b"hello")
        self.assertEqual((await client.reply()).json, {"bytes": 5})

    async def test_a_declared_length_is_refused_before_the_body(self) -> None:
        """R65: no 100 Continue, and the connection closes."""

        async def limited(request: MediaRequest) -> Response:
            request.body.limit(10)
            raise AssertionError("not reached")

        self.serve(a_route("/limited", limited, ("POST",), reads_body=True))
        for length in (11, 10_000_000):
            client = await self.connect()
            lines = (b"Content-Length: %d" % length, b"Expect: 100-continue")
            client.send(post(b"/limited", *lines))
            reply = await client.reply()
            self.assertEqual(reply.status, 413)
            self.assertEqual(reply.json["errcode"], "M_TOO_LARGE")
            self.assertEqual(reply.header(b"connection"), b"close")

    async def test_a_chunked_body_is_refused_at_the_byte_past_the_limit(self) -> None:
        """R65."""
        seen: list[bytes] = []

        async def limited(request: MediaRequest) -> Response:
            request.body.limit(10)
            async for batch in request.body:
                seen.append(batch)
            return JsonResponse({"bytes": len(b"".join(seen))})

        self.serve(a_route("/limited", limited, ("POST",), reads_body=True))
        chunked = b"Transfer-Encoding: chunked"
        fits = post(b"/limited", chunked, body=b"a\r\n0123456789\r\n0\r\n\r\n")
        self.assertEqual((await self.ask(fits)).json, {"bytes": 10})
        seen.clear()
        # The body never ends, yet the answer comes.
        over = post(b"/limited", chunked, body=b"b\r\n0123456789a\r\n")
        self.assertEqual((await self.ask(over)).status, 413)
        self.assertEqual(seen, [])

    async def test_a_413_raised_by_a_handler_closes_the_connection(self) -> None:
        """R65."""

        async def refuse(request: MediaRequest) -> Response:
            raise too_large()

        self.serve(a_route("/refuse", refuse, ("POST",), reads_body=True))
        reply = await self.ask(post(b"/refuse", b"Content-Length: 100"))
        self.assertEqual(reply.header(b"connection"), b"close")

    async def test_small_unwanted_bodies_are_discarded(self) -> None:
        """R62: up to 64 KiB; a larger one ends the connection."""
        self.serve(a_route("/none", _ok, ("POST", "GET")))
        client = await self.connect()
        body = b"x" * 65536
        client.send(post(b"/none", b"Content-Length: 65536", body=body) + HELLO)
        self.assertEqual((await client.reply()).status, 200)
        self.assertEqual((await client.reply()).json, {"hello": "example.org"})

        reply = await self.ask(post(b"/none", b"Content-Length: 65537"))
        self.assertEqual(reply.header(b"connection"), b"close")
        reply = await self.ask(post(b"/none", b"Transfer-Encoding: chunked"))
        self.assertEqual(reply.header(b"connection"), b"close")

    async def test_the_socket_pauses_when_nobody_reads(self) -> None:
        """R40, R64: one buffer before the body is welcome, a bounded one after."""
        refused: Deferred[None] = Deferred()
        requests: list[MediaRequest] = []

        async def hesitate(request: MediaRequest) -> Response:
            requests.append(request)
            await refused
            raise forbidden()

        self.serve(a_route("/hesitate", hesitate, ("POST",), reads_body=True))
        client = await self.connect()
        client.send(post(b"/hesitate", b"Content-Length: 100000000"))
        client.send(b"x" * 20_000_000)
        await self.settle()
        await self.settle()
        self.assertLess(requests[0].body.received, 2 * MAX_UNREAD_BYTES + 65536)
        refused.callback(None)
        reply = await client.reply()
        self.assertEqual((reply.status, reply.header(b"connection")), (403, b"close"))

    async def test_a_slow_handler_holds_a_bounded_part_of_the_body(self) -> None:
        """R64."""
        resume: Deferred[None] = Deferred()
        requests: list[MediaRequest] = []

        async def read_one(request: MediaRequest) -> Response:
            requests.append(request)
            total = len(await anext(request.body))
            await resume
            async for batch in request.body:
                total += len(batch)
            return JsonResponse({"bytes": total})

        self.serve(a_route("/one", read_one, ("POST",), reads_body=True))
        client = await self.connect()
        client.send(post(b"/one", b"Content-Length: 20000000", body=b"x" * 20_000_000))
        await self.settle()
        await self.settle()
        self.assertLess(requests[0].body.received, 2 * MAX_BUFFERED_BYTES)
        resume.callback(None)
        self.assertEqual((await client.reply()).json, {"bytes": 20_000_000})

    async def test_a_short_body_is_an_error(self) -> None:
        """R65, R66: the handler learns at once that the client left."""
        outcome: Deferred[object] = Deferred()

        async def read(request: MediaRequest) -> Response:
            try:
                async for _ in request.body:
                    pass
            except BaseException as error:
                outcome.callback(type(error))
                raise
            raise AssertionError("the body isn't whole")

        self.serve(a_route("/read", read, ("POST",), reads_body=True))
        client = await self.connect()
        client.send(post(b"/read", b"Content-Length: 100", body=b"x" * 99))
        await self.settle()
        client.abort()
        self.assertIs(await outcome, ClientGone)
        await self.settle()
        self.assertTrue(self.finished[0].is_gone)


class LeavingTests(HttpTestCase):
    async def test_a_handler_is_cancelled_when_its_client_leaves(self) -> None:
        """R66."""
        outcome: Deferred[object] = Deferred()

        async def wait(request: MediaRequest) -> Response:
            try:
                await Deferred()
            except BaseException as error:
                outcome.callback(type(error))
                raise
            raise AssertionError("not reached")

        self.serve(a_route("/wait", wait))
        client = await self.connect()
        client.send(b"GET /wait HTTP/1.1\r\n" + HEAD + b"\r\n")
        await self.settle()
        client.abort()
        self.assertIs(await outcome, CancelledError)
        await self.wait(1)
        self.assertIn(" 499! ", "".join(self.log_lines))


class TimeTests(HttpTestCase):
    async def test_a_head_must_be_complete_in_time(self) -> None:
        """R61: counted from its first byte, however many follow."""
        self.serve()
        client = await self.connect()
        for byte in b"GET /hello HTTP/1.1"[:19]:
            client.send(bytes([byte]))
            await self.wait(1)
            self.assertFalse(client.is_closed)
        await self.wait(2)
        await client.closed()

    async def test_idle_connections_are_closed(self) -> None:
        """R61."""
        self.serve()
        client = await self.connect()
        client.send(HELLO)
        await client.reply()
        await self.wait(58)
        self.assertFalse(client.is_closed)
        await self.wait(3)
        await client.closed()

    async def test_waiting_handlers_are_not_idle(self) -> None:
        answer: Deferred[None] = Deferred()

        async def wait(request: MediaRequest) -> Response:
            await answer
            return JsonResponse({})

        self.serve(a_route("/wait", wait))
        client = await self.connect()
        client.send(b"GET /wait HTTP/1.1\r\n" + HEAD + b"\r\n")
        await self.wait(200)
        answer.callback(None)
        self.assertEqual((await client.reply()).status, 200)

    async def test_slow_uploads_are_cut_off(self) -> None:
        """R61: less than 1 KiB/s over 30 s."""
        self.serve()
        client = await self.connect()
        client.send(post(b"/count", b"Content-Length: 1000000"))
        for _ in range(40):
            client.send(b"x" * 2048)
            await self.settle()
            self.time.advance(1)
        self.assertFalse(client.is_closed)
        for _ in range(7):
            client.send(b"x")
            await self.wait(10)
        await client.closed()

    async def test_slow_readers_are_cut_off(self) -> None:
        """R61: less than 1 KiB/s over 60 s."""

        async def large(request: MediaRequest) -> Response:
            return JsonResponse({"x": "y" * 20_000_000})

        self.serve(a_route("/large", large))
        client = await self.connect()
        client.transport.pauseProducing()
        client.send(b"GET /large HTTP/1.1\r\n" + HEAD + b"\r\n")
        await self.wait(50)
        self.assertEqual(len(self.site.connections), 1)
        await self.wait(72)
        self.assertEqual(len(self.site.connections), 0)


class CapacityTests(HttpTestCase):
    async def test_an_address_has_its_share(self) -> None:
        """R69."""
        self.serve(
            limits=HttpLimits(connections_per_address=3), addresses=ClientAddresses(())
        )
        clients = [await self.connect() for _ in range(4)]
        await clients[3].closed()
        clients[0].abort()
        await self.settle()
        self.assertEqual((await self.ask(HELLO)).status, 200)

    async def test_a_full_site_lets_new_clients_wait(self) -> None:
        """R69: accepting pauses; nobody is refused."""
        self.serve(limits=HttpLimits(connections=2))
        first, second, third = [await self.connect() for _ in range(3)]
        third.send(HELLO)
        await self.settle()
        self.assertEqual(len(self.site.connections), 2)
        self.assertEqual(third.received, b"")
        first.abort()
        self.assertEqual((await third.reply()).status, 200)
        self.assertFalse(second.is_closed)

    async def test_a_full_site_sends_idlers_away_sooner(self) -> None:
        """R69."""
        self.serve(limits=HttpLimits(connections=2))
        idlers = [await self.connect() for _ in range(2)]
        third = await self.connect()
        third.send(HELLO)
        await self.wait(7)
        self.assertEqual((await third.reply()).status, 200)
        self.assertTrue(all(idler.is_closed for idler in idlers))


class DrainTests(HttpTestCase):
    async def test_running_requests_end_and_idle_connections_go(self) -> None:
        answer: Deferred[None] = Deferred()

        async def wait(request: MediaRequest) -> Response:
            await answer
            return JsonResponse({"done": True})

        self.serve(a_route("/wait", wait))
        idle, busy = await self.connect(), await self.connect()
        busy.send(b"GET /wait HTTP/1.1\r\n" + HEAD + b"\r\n")
        await self.settle()
        drained = Deferred.fromCoroutine(self.site.drain(30))
        await idle.closed()
        self.assertFalse(drained.called)
        answer.callback(None)
        reply = await busy.reply()
        self.assertEqual(reply.header(b"connection"), b"close")
        await drained

    async def test_what_does_not_end_is_aborted(self) -> None:
        async def wait(request: MediaRequest) -> Response:
            await Deferred()
            raise AssertionError("not reached")

        self.serve(a_route("/wait", wait))
        client = await self.connect()
        client.send(b"GET /wait HTTP/1.1\r\n" + HEAD + b"\r\n")
        await self.settle()
        drained = Deferred.fromCoroutine(self.site.drain(30))
        await self.wait(31)
        await drained
        await client.closed()


async def _ok(request: MediaRequest) -> Response:
    return JsonResponse({"ok": True})
