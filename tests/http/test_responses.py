"""Answers on the wire: headers, conditions, ranges, streams, and their failures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.internet.defer import Deferred

from mmr.errors import forbidden, not_found, rate_limited
from mmr.http.ranges import ByteRange, parse_range
from mmr.http.request import MediaRequest
from mmr.http.responses import (
    BytesResponse,
    JsonResponse,
    RedirectResponse,
    Response,
)

from tests.http.answers import BODY, ETAG, FileObject, ResponseTestCase, media
from tests.http.support import HEAD, a_route


class FixedHeaderTests(ResponseTestCase):
    async def test_every_outcome_carries_the_policy_headers(self) -> None:
        """R1, R2, D19."""
        outcomes: list[Any] = [
            media(BODY),
            JsonResponse({}),
            BytesResponse(b"x", "text/plain"),
            RedirectResponse("https://cdn.example/x"),
            forbidden(),
            not_found(),
            rate_limited(1500),
            RuntimeError("secret /path"),
        ]
        answers = iter(outcomes)
        self.serve_response(lambda: next(answers))
        statuses = []
        for _ in outcomes:
            reply = await self.get(b"/m")
            statuses.append(reply.status)
            self.assert_fixed_headers(reply)
        self.assertEqual(statuses, [200, 200, 200, 307, 403, 404, 429, 500])
        self.flushLoggedErrors()
        for data, status in [
            (b"GET /nowhere HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
            (b"PUT /m HTTP/1.1\r\n" + HEAD + b"\r\n", 405),
            (b"OPTIONS /m HTTP/1.1\r\n" + HEAD + b"\r\n", 204),
            (b"GET /m HTTP/1.1\r\nHost: other.example\r\n\r\n", 502),
            (b"GET /%zz/m HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
            (b"BAD\r\n\r\n", 400),
        ]:
            reply = await self.ask(data)
            self.assertEqual(reply.status, status)
            self.assert_fixed_headers(reply)

    async def test_errors_are_json_and_never_cached(self) -> None:
        """R5, R6: and a server error tells nothing of its cause."""
        self.serve_response(lambda: ValueError("/etc/secret SELECT <script>"))
        reply = await self.get(b"/m")
        self.assertEqual(reply.status, 500)
        self.assertEqual(reply.header(b"content-type"), b"application/json")
        self.assertEqual(reply.header(b"cache-control"), b"no-store")
        self.assertEqual(
            reply.json,
            {
                "errcode": "M_UNKNOWN",
                "error": "Unexpected Error",
                "mr_errcode": "M_UNKNOWN",
            },
        )

    async def test_nothing_of_a_request_is_reflected(self) -> None:
        """R5, R75."""
        self.serve()
        for data in (
            b"GET /<script> HTTP/1.1\r\n" + HEAD + b"X: <script>\r\n\r\n",
            b"GET /hello HTTP/1.1\r\nHost: <script>\r\n\r\n",
            b"GET /hello?<script>=%ff HTTP/1.1\r\n" + HEAD + b"\r\n",
        ):
            client = await self.connect()
            client.send(data)
            await client.until(lambda c=client: b"\r\n\r\n{" in c.received)
            self.assertNotIn(b"script>", client.received)

    async def test_429_says_when_to_come_back(self) -> None:
        """R78."""
        self.serve_response(lambda: rate_limited(1001))
        reply = await self.get(b"/m")
        self.assertEqual(reply.header(b"retry-after"), b"2")
        self.assertEqual(reply.json["retry_after_ms"], 1001)

    async def test_json_holds_no_html(self) -> None:
        self.serve_response(lambda: JsonResponse({"x": "<b>&"}))
        reply = await self.get(b"/m")
        self.assertEqual(reply.body, b'{"x":"\\u003cb\\u003e\\u0026"}')

    async def test_a_redirect_stays_where_it_was_sent(self) -> None:
        """R7."""
        self.serve_response(
            lambda: RedirectResponse('https://cdn.example/a b\r\nX: y/\\?x="')
        )
        reply = await self.get(b"/m")
        self.assertEqual(
            reply.header(b"location"),
            b"https://cdn.example/a%20b%0D%0AX:%20y/%5C?x=%22",
        )
        self.assertEqual(reply.header(b"referrer-policy"), b"no-referrer")
        self.assertEqual(reply.header(b"cache-control"), b"no-store")

    async def test_a_header_cannot_be_broken_out_of(self) -> None:
        """R72."""

        async def handler(request: MediaRequest) -> Response:
            request.add_header(b"X-Limit", b"5\r\nX-Evil: 1")
            raise AssertionError("not reached")

        self.serve(a_route("/m", handler))
        self.assertEqual((await self.get(b"/m")).status, 500)


class MediaTests(ResponseTestCase):
    async def test_media_is_described(self) -> None:
        self.serve_response(lambda: media(BODY, name="ä.png"))
        reply = await self.get(b"/m")
        self.assertEqual((reply.status, reply.body), (200, BODY))
        self.assertEqual(reply.header(b"content-type"), b"image/png")
        self.assertEqual(
            reply.header(b"content-disposition"),
            b"inline; filename=\"_.png\"; filename*=utf-8''%C3%A4.png",
        )
        self.assertEqual(reply.header(b"cache-control"), b"private, max-age=259200")
        self.assertEqual(reply.header(b"accept-ranges"), b"bytes")
        self.assertEqual(reply.header(b"etag"), ETAG)

    async def test_head_has_the_headers_of_get(self) -> None:
        """D8, R68."""
        opened: list[bool] = []

        async def source() -> bytes:
            opened.append(True)
            return BODY

        self.serve_response(lambda: media(source))
        get = await self.get(b"/m")
        client = await self.connect()
        client.send(b"HEAD /m HTTP/1.1\r\n" + HEAD + b"Range: bytes=0-1\r\n\r\n")
        head = await client.reply(to_head=True)
        self.assertEqual(head.status, 200)
        self.assertEqual(
            {k: v for k, v in head.headers.items() if k != b"date"},
            {k: v for k, v in get.headers.items() if k != b"date"},
        )
        await self.settle()
        self.assertEqual(client.received, b"")
        self.assertEqual(opened, [True])

    async def test_known_content_is_not_sent_again(self) -> None:
        """Answered without opening the object (D21)."""

        async def source() -> bytes:
            raise AssertionError("opened in vain")

        self.serve_response(lambda: media(source))
        for value in (ETAG, b"W/" + ETAG, b'"a", ' + ETAG, b"*"):
            reply = await self.get(b"/m", b"If-None-Match: " + value)
            self.assertEqual(reply.status, 304)
            self.assertEqual(reply.header(b"etag"), ETAG)
            self.assertIsNone(reply.header(b"content-length"))

    async def test_ranges(self) -> None:
        """D21, R68: one range is honoured, what is malformed is ignored."""
        size = len(BODY)
        whole = (200, BODY, None)
        cases: list[tuple[bytes, tuple[int, bytes | None, bytes | None]]] = [
            (b"bytes=0-0", (206, BODY[:1], b"bytes 0-0/10240")),
            (b"bytes=5-9", (206, BODY[5:10], b"bytes 5-9/10240")),
            (b"Bytes=5-99999", (206, BODY[5:], b"bytes 5-10239/10240")),
            (b"bytes=10-", (206, BODY[10:1034], b"bytes 10-1033/10240")),
            (b"bytes=-3", (206, BODY[-3:], b"bytes 10237-10239/10240")),
            (b"bytes=-99999", (206, BODY, b"bytes 0-10239/10240")),
            (b"bytes=5-9223372036854775808", (206, BODY[5:], b"bytes 5-10239/10240")),
            (b"bytes=%d-" % size, (416, None, b"bytes */10240")),
            (b"bytes=9223372036854775807-", (416, None, b"bytes */10240")),
            (b"bytes=-0", (416, None, b"bytes */10240")),
            (b"bytes=5-4", whole),
            (b"bytes=", whole),
            (b"bytes=-", whole),
            (b"bytes=a-b", whole),
            (b"bytes=+1-2", whole),
            (b"bytes=0-1,3-4", whole),
            (b"bytes=" + b"0-1," * 1000 + b"5-6", whole),
            (b"items=0-1", whole),
        ]
        for source in (lambda: BODY, lambda: FileObject(BODY)):
            self.serve_response(lambda s=source: media(s(), open_range_bytes=1024))
            for value, (status, body, content_range) in cases:
                reply = await self.get(b"/m", b"Range: " + value)
                self.assertEqual(reply.status, status, value)
                self.assertEqual(reply.header(b"content-range"), content_range)
                if body is not None:
                    self.assertEqual(reply.body, body, value)

    async def test_a_range_of_older_content_is_the_whole(self) -> None:
        self.serve_response(lambda: media(BODY))
        lines = (b"Range: bytes=0-4", b"If-Range: " + ETAG)
        self.assertEqual((await self.get(b"/m", *lines)).status, 206)
        for value in (b'"old"', b"W/" + ETAG, b"Sat, 21 Nov 2026 00:00:00 GMT"):
            lines = (b"Range: bytes=0-4", b"If-Range: " + value)
            self.assertEqual((await self.get(b"/m", *lines)).status, 200)

    async def test_an_empty_file_is_an_empty_answer(self) -> None:
        for source in (b"", FileObject(b"")):
            self.serve_response(lambda s=source: media(s, size=0, sha256=None))
            reply = await self.get(b"/m", b"Range: bytes=0-")
            self.assertEqual((reply.status, reply.body), (200, b""))


class StreamTests(ResponseTestCase):
    async def test_large_bodies_of_each_kind_arrive_whole(self) -> None:
        body = BODY * 300

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 50_000):
                yield body[start : start + 50_000]

        for source, size in [
            (body, len(body)),
            (FileObject(body), len(body)),
            (FileObject(body, is_file=False), len(body)),
            (pieces(), len(body)),
            (pieces(), None),
        ]:
            self.serve_response(lambda s=source, n=size: media(s, size=n))
            reply = await self.get(b"/m")
            self.assertEqual(len(reply.body), len(body))
            self.assertEqual(reply.body, body)
            if isinstance(source, FileObject):
                self.assertTrue(source.is_closed)

    async def test_another_request_follows_a_file(self) -> None:
        self.serve_response(lambda: media(FileObject(BODY * 100), size=1_024_000))
        client = await self.connect()
        client.send(b"GET /m HTTP/1.1\r\n" + HEAD + b"\r\n")
        client.send(b"GET /hello HTTP/1.1\r\n" + HEAD + b"\r\n")
        self.assertEqual((await client.reply()).body, BODY * 100)
        self.assertEqual((await client.reply()).json, {"hello": "example.org"})

    async def test_a_paused_reader_holds_no_memory(self) -> None:
        """R64: 100 MB wait for it in the source."""
        given: list[int] = []

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(100):
                given.append(1_000_000)
                yield b"x" * 1_000_000

        source = FileObject(b"x" * 4_000_000, is_file=False)
        answers = iter(
            [media(endless(), size=100_000_000), media(source, size=4 << 20)]
        )
        self.serve_response(lambda: next(answers))
        for _ in range(2):
            client = await self.connect()
            client.transport.pauseProducing()
            client.send(b"GET /m HTTP/1.1\r\n" + HEAD + b"\r\n")
            await self.settle()
            await self.settle()
        self.assertLess(sum(given), 20_000_000)

    async def test_a_source_that_fails_midway_breaks_the_connection_off(self) -> None:
        """R68, D20: nothing is appended."""

        async def broken() -> AsyncIterator[bytes]:
            yield b"x" * 100
            raise OSError("disk")

        async def short() -> AsyncIterator[bytes]:
            yield b"x" * 100

        async def long() -> AsyncIterator[bytes]:
            yield b"x" * 20_000

        for source in (
            broken(),
            short(),
            long(),
            FileObject(BODY[:100]),
            FileObject(BODY[:100], is_file=False),
        ):
            self.serve_response(lambda s=source: media(s))
            client = await self.connect()
            client.send(b"GET /m HTTP/1.1\r\n" + HEAD + b"\r\n")
            received = await client.closed()
            head, _, body = received.partition(b"\r\n\r\n")
            if head:
                self.assertIn(b"Content-Length: 10240", head)
            self.assertLess(len(body), len(BODY))
            self.assertNotIn(b"errcode", body)
        # Chunked: the last chunk never comes.
        self.serve_response(lambda: media(broken(), size=None))
        client = await self.connect()
        client.send(b"GET /m HTTP/1.1\r\n" + HEAD + b"\r\n")
        self.assertFalse((await client.closed()).endswith(b"0\r\n\r\n"))

    async def test_wrong_sizes_of_cached_bytes_are_noticed(self) -> None:
        self.serve_response(lambda: media(BODY[:100]))
        self.assertEqual((await self.get(b"/m")).status, 500)

    async def test_a_download_ends_with_its_client(self) -> None:
        """R66: the source is closed, whatever it is."""
        closed: list[bool] = []

        async def endless() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 1_000_000
            finally:
                closed.append(True)

        async def waiting() -> AsyncIterator[bytes]:
            try:
                yield b"x"
                await Deferred()
            finally:
                closed.append(True)

        file = FileObject(b"x" * 30_000_000)
        sources = iter([endless(), waiting(), file])
        self.serve_response(lambda: media(next(sources), size=30_000_000))
        for _ in range(3):
            client = await self.connect()
            client.transport.pauseProducing()
            client.send(b"GET /m HTTP/1.1\r\n" + HEAD + b"\r\n")
            await self.settle()
            client.abort()
            await self.settle()
        self.assertEqual(closed, [True, True])
        self.assertTrue(file.is_closed)
        self.assertTrue(all(request.is_gone for request in self.finished))


@given(st.binary(max_size=40), st.integers(1, 2**40), st.integers(0, 2**24))
def test_any_range_lies_within_the_media(value: bytes, size: int, chunk: int) -> None:
    """R67, R68."""
    for header in (value, b"bytes=" + value):
        part = parse_range(header, size, chunk)
        assert part is None or 0 <= part.start <= part.start + part.count <= size


@given(st.integers(0, 2**70), st.integers(0, 2**70), st.integers(1, 2**63))
def test_well_formed_ranges_are_understood(first: int, last: int, size: int) -> None:
    part = parse_range(b"bytes=%d-%d" % (first, last), size, 0)
    if last < first:
        assert part is None
    elif first >= size:
        assert part == ByteRange(0, 0)
    else:
        assert part == ByteRange(first, min(last, size - 1) - first + 1)
