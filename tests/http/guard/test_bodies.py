"""The guarded client against servers on loopback: bodies, and their limits."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

from mmr.http.guard import FetchFailed, Purpose, Step
from mmr.http.guard.body import BUFFER_BYTES

from tests.http.guard.support import GuardTestCase, wait
from tests.stub_web import Script, Seen, StubConnection, raw_reply, response

KIB = 1024
SMALL = Purpose("test", max_bytes=64 * KIB)
PAGE = Purpose("page", max_bytes=64 * KIB, total_seconds=10, expands=True)


def endless(start: bytes, block: bytes) -> Script:
    """Sends for as long as the other side listens."""

    async def script(connection: StubConnection, _: Seen) -> None:
        connection.send(start)
        while connection.is_open:
            connection.send(block)
            await wait(0)

    return script


class BodyTests(GuardTestCase):
    async def body(self, data: bytes, *, close: bool = False) -> bytes:
        server = await self.serve(raw_reply(data, close=close))
        return (await self.get(server))[1]

    async def broken(self, data: bytes, *, close: bool = False) -> FetchFailed:
        server = await self.serve(raw_reply(data, close=close))
        return await self.failure(self.get(server), Step.BODY)

    async def test_three_ways_to_end(self) -> None:
        self.assertEqual(await self.body(response(200, b"abc")), b"abc")
        chunks = b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\nTrailer: x\r\n\r\n"
        head = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.assertEqual(await self.body(head + chunks), b"abc")
        until_close = b"HTTP/1.1 200 x\r\n\r\nabc"
        self.assertEqual(await self.body(until_close, close=True), b"abc")

    async def test_less_than_announced_is_a_failure(self) -> None:
        """R16: never a short file with a matching length."""
        head = b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nabc"
        failure = await self.broken(head, close=True)
        self.assertIn("after 3 of 9 bytes", failure.reason)

    async def test_chunks_without_an_end_are_a_failure(self) -> None:
        """R16."""
        head = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"
        for chunks in (
            b"",
            b"3\r\nabc\r\n",
            b"3\r\nab",
            b"3\r\nabc\r\n0\r\n",
            b"3\nabc\n",
        ):
            await self.broken(head + chunks, close=True)
        for chunks in (b"x\r\n", b"-3\r\nabc\r\n", b"3\r\nabcd\r\n"):
            await self.broken(head + chunks)

    async def test_reset_in_the_place_of_an_end_is_a_failure(self) -> None:
        async def script(connection: StubConnection, _: Seen) -> None:
            connection.send(b"HTTP/1.1 200 x\r\n\r\nabc")
            await wait(0.02)
            connection.reset()

        server = await self.serve(script)
        await self.failure(self.get(server), Step.BODY)

    async def test_first_bytes_are_given_out_at_once(self) -> None:
        """They go on to waiting clients: nothing is held back to fill a batch."""
        server = await self.serve(
            raw_reply(b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nabc")
        )
        got = await self.client.request(self.request(server))
        self.assertEqual(await anext(got.body), b"abc")
        self.assertEqual((got.status, got.length, got.header("X")), (200, 9, None))
        got.abort()

    async def test_slow_reader_pauses_the_connection(self) -> None:
        """Back-pressure: memory doesn't grow with the body."""
        size = 40 * BUFFER_BYTES
        server = await self.serve(raw_reply(response(200, bytes(size))))
        got = await self.client.request(
            self.request(server, purpose=Purpose("test", max_bytes=size))
        )
        await wait(0.05)
        self.assertLess(got._incoming.received, 2 * BUFFER_BYTES)
        batches = [len(batch) async for batch in got.body]
        self.assertEqual(sum(batches), size)
        self.assertLess(max(batches), 2 * BUFFER_BYTES)

    async def test_connection_whose_reader_lags_serves_others(self) -> None:
        """A body that has arrived whole is no more business of its connection."""
        server = await self.serve(raw_reply(response(200, bytes(BUFFER_BYTES + 9))))
        first = await self.client.request(self.request(server))
        while not first._incoming.is_complete:
            await wait(0.01)
        self.assertEqual(len((await self.get(server))[1]), BUFFER_BYTES + 9)
        self.assertEqual(len(await first.read(10**6)), BUFFER_BYTES + 9)
        self.assertEqual(server.accepted, 1)

    async def test_response_that_is_given_up_hangs_up(self) -> None:
        server = await self.serve(endless(b"HTTP/1.1 200 x\r\n\r\n", b"x" * KIB))
        async with await self.client.request(self.request(server)) as got:
            self.assertEqual(self.budget.running, 1)
        self.assertEqual(self.budget.running, 0)
        with self.assertRaises(FetchFailed):
            await anext(got.body)
        await wait(0.02)
        self.assertEqual(server.connections, [])


class LimitTests(GuardTestCase):
    async def too_large(self, script: Script, purpose: Purpose = SMALL) -> None:
        server = await self.serve(script)
        await self.failure(self.get(server, purpose=purpose), Step.TOO_LARGE)
        await wait(0.02)
        self.assertEqual(server.connections, [], "aborted, not drained")

    async def test_endless_bodies(self) -> None:
        """R16: with and without a length, memory stays flat."""
        block = b"x" * 64 * KIB
        chunk = b"10000\r\n" + block + b"\r\n"
        head = b"HTTP/1.1 200 x\r\n"
        tracemalloc.start()
        await self.too_large(endless(head + b"\r\n", block))
        await self.too_large(
            endless(head + b"Transfer-Encoding: chunked\r\n\r\n", chunk)
        )
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertLess(peak, 8 * 1024 * KIB)

    async def test_announced_length_is_enough(self) -> None:
        """R16: refused before a byte of it is read, but the status is known."""
        head = b"HTTP/1.1 404 x\r\nContent-Length: 65537\r\n\r\n"
        await self.too_large(raw_reply(head))
        server = await self.serve(raw_reply(head))
        got = await self.client.request(self.request(server, purpose=SMALL))
        self.assertEqual(got.status, 404)

    async def test_body_of_just_the_limit(self) -> None:
        server = await self.serve(raw_reply(response(200, bytes(64 * KIB))))
        _, body = await self.get(server, purpose=SMALL)
        self.assertEqual(len(body), 64 * KIB)

    async def test_reader_may_want_less(self) -> None:
        """R16: error bodies are limited more than media."""
        server = await self.serve(raw_reply(response(404, bytes(101))))
        got = await self.client.request(self.request(server))
        await self.failure(got.read(100), Step.TOO_LARGE)

    async def test_endless_heads(self) -> None:
        """R16: one line, many lines, many interim responses."""
        start = b"HTTP/1.1 200 x\r\n"
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        for script in (
            endless(start + b"a: ", b"x" * KIB),
            endless(b"", b"x" * KIB),
            endless(start, b"a: b\r\n" * 100),
            raw_reply(start + b"a: b\r\n" * 200 + b"\r\n"),
            endless(b"", interim),
            raw_reply(interim * 6 + response(200, b"late")),
        ):
            server = await self.serve(script)
            await self.failure(self.get(server), Step.HEADERS)

    async def test_few_interim_responses_are_fine(self) -> None:
        server = await self.serve(
            raw_reply(b"HTTP/1.1 103 x\r\na: b\r\n\r\n" * 5 + response(200, b"abc"))
        )
        self.assertEqual(await self.get(server), (200, b"abc"))

    async def test_endless_chunk_extensions(self) -> None:
        """R16: framing is counted too."""
        head = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"
        long, many = b"1;" + b"x" * 5000, b"1;" + b"x" * 900 + b"\r\na\r\n"
        for script in (endless(head, long), endless(head, many)):
            server = await self.serve(script)
            await self.failure(self.get(server), Step.BODY)


class CodingTests(GuardTestCase):
    async def serve_coded(self, coding: str, body: bytes):  # type: ignore[no-untyped-def]
        reply = response(200, body, {"Content-Encoding": coding})
        return await self.serve(raw_reply(reply))

    async def test_coding_that_was_not_asked_for_is_a_failure(self) -> None:
        """R17: the status is known all the same."""
        server = await self.serve_coded("gzip", gzip.compress(b"abc"))
        await self.failure(self.get(server), Step.BODY)
        got = await self.client.request(self.request(server))
        self.assertEqual(got.status, 200)

    async def test_identity_may_be_said(self) -> None:
        server = await self.serve_coded("Identity", b"abc")
        self.assertEqual(await self.get(server), (200, b"abc"))

    async def test_pages_are_expanded(self) -> None:
        """R17."""
        for coding, packed in (
            ("gzip", gzip.compress(b"abc" * 9000)),
            ("deflate", zlib.compress(b"abc" * 9000)),
            ("gzip", b""),
        ):
            server = await self.serve_coded(coding, packed)
            _, body = await self.get(server, purpose=PAGE)
            self.assertEqual(body, b"abc" * 9000 if packed else b"")
            sent = server.requests[0].headers["accept-encoding"]
            self.assertEqual(sent, "gzip, deflate")

    async def test_output_counts(self) -> None:
        """R17: a small bomb of a large page."""
        for packed in (gzip.compress(bytes(64 * KIB + 1)), gzip.compress(bytes(10**7))):
            server = await self.serve_coded("gzip", packed)
            await self.failure(self.get(server, purpose=PAGE), Step.TOO_LARGE)

    async def test_other_layers_and_broken_streams_are_failures(self) -> None:
        """R17."""
        packed = gzip.compress(b"abc" * 1000)
        for coding, body in (
            ("br", b"x"),
            ("gzip, gzip", gzip.compress(packed)),
            ("gzip", packed[:-9]),
            ("gzip", b"x" + packed),
        ):
            server = await self.serve_coded(coding, body)
            await self.failure(self.get(server, purpose=PAGE), Step.BODY)

    async def test_what_follows_a_stream_counts(self) -> None:
        """R16: it expands to nothing, and is not endless."""
        head = b"HTTP/1.1 200 x\r\nContent-Encoding: gzip\r\n\r\n"
        server = await self.serve(
            endless(head + gzip.compress(b"abc"), b"\0" * 16 * KIB)
        )
        await self.failure(self.get(server, purpose=PAGE), Step.TOO_LARGE)
