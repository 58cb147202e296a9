"""What goes wrong with other servers: a clear error, remembered, and one log line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from mmr.http.guard import client as guard_client

from tests.harness import Answer
from tests.rest.remote_case import (
    BOUNDARY,
    DOWNLOAD,
    ENVELOPE_TYPE,
    RemoteCase,
    closing,
    envelope,
    opening,
)
from tests.stub_web import Seen, StubConnection, redirect_to, silence

_LOGGERS = ("mmr.federation.media", "mmr.media.remote")
Media = Callable[[StubConnection, Seen], None]


class FailureCase(RemoteCase):
    config: ClassVar[dict[str, Any]] = {
        "downloads": {"maxBytes": 100_000},
        "timeouts": {"federationTimeoutSeconds": 1},
    }

    async def fails(
        self, status: int, errcode: str, step: str, path: str | None = None
    ) -> Answer:
        """Ask twice: both fail so, one log line names the step, the origin is asked

        once, and nothing stays (R5, R19: clients don't hear what went wrong).
        """
        with self.assertLogs("mmr", "INFO") as logged:
            answer = await self.get(path or self.path())
        seen = (answer.status, answer.json["errcode"])
        self.assertEqual(seen, (status, errcode), (answer.json, logged.output))
        lines = [r for r in logged.records if r.name in _LOGGERS]
        self.assertEqual(len(lines), 1, logged.output)
        self.assertIn(f"at step {step!r}", lines[0].getMessage())
        self.assertNotIn("127.0.0.1", answer.body.decode())
        count = len(self.asked)
        with self.assertNoLogs("mmr.federation.media"):
            again = await self.get(path or self.path())
        self.assertEqual((again.status, again.json), (answer.status, answer.json))
        self.assertEqual(len(self.asked), count, "it was asked again at once")
        self.assertTrue(await self.is_empty())
        return answer


class AnswerTest(FailureCase):
    async def answers(
        self, remote_status: int, remote_errcode: str, status: int, errcode: str
    ) -> None:
        body = b'{"errcode": "%s", "error": "<b>"}' % remote_errcode.encode()
        self.reply_with(remote_status, body)
        await self.fails(status, errcode, "answer")

    async def test_404(self) -> None:
        await self.answers(404, "M_NOT_FOUND", 404, "M_NOT_FOUND")

    async def test_403(self) -> None:
        """D40: it is our server that may not, not the user."""
        await self.answers(403, "M_FORBIDDEN", 502, "M_UNKNOWN")

    async def test_401(self) -> None:
        await self.answers(401, "M_UNAUTHORIZED", 502, "M_UNKNOWN")

    async def test_429(self) -> None:
        await self.answers(429, "M_LIMIT_EXCEEDED", 502, "M_UNKNOWN")

    async def test_500(self) -> None:
        await self.answers(500, "M_UNKNOWN", 502, "M_UNKNOWN")

    async def test_503_in_html(self) -> None:
        self.reply_with(503, b"<html>", {"Content-Type": "text/html"})
        await self.fails(502, "M_UNKNOWN", "answer")

    async def test_too_large_for_the_origin(self) -> None:
        await self.answers(502, "M_TOO_LARGE", 502, "M_TOO_LARGE")

    async def test_no_endpoint_is_known(self) -> None:
        self.reply_with(404, b'{"errcode": "M_UNRECOGNIZED", "error": "?"}')
        await self.fails(404, "M_NOT_FOUND", "answer")
        self.assertEqual(len(self.asked), 5)

    async def test_no_answer_in_time(self) -> None:
        """D37: federationTimeoutSeconds is the time to the headers."""
        self.media = silence  # type: ignore[assignment]
        await self.fails(504, "M_UNKNOWN", "headers")

    async def test_an_answer_that_is_none(self) -> None:
        self.reply_raw(b"SSH-2.0-x\r\n\r\n", close=True)
        await self.fails(502, "M_UNKNOWN", "headers")

    async def test_headers_without_end(self) -> None:
        """R16."""
        self.reply_raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000)
        await self.fails(502, "M_UNKNOWN", "headers")


class BodyTest(FailureCase):
    async def test_no_boundary(self) -> None:
        self.reply_with(200, envelope(b"x"), {"Content-Type": "multipart/mixed"})
        await self.fails(502, "M_UNKNOWN", "multipart")

    async def test_a_wrong_boundary(self) -> None:
        wrong = {"Content-Type": "multipart/mixed; boundary=other"}
        self.reply_with(200, envelope(b"x"), wrong)
        await self.fails(502, "M_UNKNOWN", "multipart")

    async def test_no_multipart_at_all(self) -> None:
        self.reply_with(200, b"<html>", {"Content-Type": "text/html"})
        await self.fails(502, "M_UNKNOWN", "multipart")

    async def test_a_json_part_that_is_too_large(self) -> None:
        first = b'{"x": "' + b"y" * 70_000 + b'"}'
        self.reply_with(200, opening(first=first) + b"x" + closing(), ENVELOPE_TYPE)
        await self.fails(502, "M_UNKNOWN", "multipart")

    async def test_a_json_part_that_is_none(self) -> None:
        body = opening(first=b"[1") + b"x" + closing()
        self.reply_with(200, body, ENVELOPE_TYPE)
        await self.fails(502, "M_UNKNOWN", "multipart")

    async def test_a_third_part(self) -> None:
        end = f"\r\n\r\nthird\r\n--{BOUNDARY}--"
        self.reply_with(200, envelope(b"x", end=end), ENVELOPE_TYPE)
        await self.fails(502, "M_UNKNOWN", "multipart")

    async def test_no_final_boundary(self) -> None:
        self.reply_with(200, envelope(b"x", end=""), ENVELOPE_TYPE)
        await self.fails(502, "M_UNKNOWN", "multipart")

    async def test_more_than_max_bytes_as_announced(self) -> None:
        length = 100_000_000
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nContent-Type: "
        self.reply_raw(f"{head}{ENVELOPE_TYPE['Content-Type']}\r\n\r\n".encode())
        await self.fails(502, "M_TOO_LARGE", "body")

    async def test_more_than_max_bytes_by_an_old_server(self) -> None:
        self.only_old(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n")
        await self.fails(502, "M_TOO_LARGE", "body")

    async def test_less_than_announced(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        self.only_old(head + b"only this", close=True)
        await self.fails(502, "M_UNKNOWN", "body")

    async def test_broken_chunks(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.only_old(head + b"5\r\nhello\r\nzz\r\n")
        await self.fails(502, "M_UNKNOWN", "body")

    async def test_a_compressed_body(self) -> None:
        """R17: it was not asked for."""
        self.only_old(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
        )
        await self.fails(502, "M_UNKNOWN", "body")

    def only_old(self, data: bytes, *, close: bool = False) -> None:
        """Answer the legacy route alone, with these bytes."""

        def media(connection: StubConnection, seen: Seen) -> None:
            if not seen.target.startswith("/_matrix/media/v3/"):
                connection.reply(404, b'{"errcode": "M_UNRECOGNIZED"}')
                return
            connection.send(data)
            if close:
                connection.close()

        self.media = media


class LocationTest(FailureCase):
    """R14: where a server points to is a stranger's URL like any other."""

    async def point_to(self, url: str) -> None:
        part = f"\r\n--{BOUNDARY}\r\nLocation: {url}\r\n\r\n".encode()
        first = f"--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{{}}".encode()
        self.reply_with(200, first + part + closing(), ENVELOPE_TYPE)

    async def test_a_loop(self) -> None:
        cdn = await self.serve("cdn.example")
        cdn.script = redirect_to("/again")
        await self.point_to(cdn.url("/again", "cdn.example"))
        await self.fails(502, "M_UNKNOWN", "location")
        self.assertEqual(len(cdn.requests), 6)

    async def test_a_private_address(self) -> None:
        await self.point_to("https://10.0.0.1/x")
        await self.fails(502, "M_UNKNOWN", "location")

    async def test_a_name_of_a_private_address(self) -> None:
        self.dns.hosts["inside.example"] = ["192.168.1.1"]
        await self.point_to("https://inside.example/x")
        await self.fails(502, "M_UNKNOWN", "location")

    async def test_a_redirect_to_a_private_address(self) -> None:
        cdn = await self.serve("cdn.example")
        cdn.script = redirect_to("https://169.254.169.254/latest")
        await self.point_to(cdn.url("/x", "cdn.example"))
        await self.fails(502, "M_UNKNOWN", "location")

    async def test_another_scheme(self) -> None:
        await self.point_to("http://cdn.example/x")
        await self.fails(502, "M_UNKNOWN", "location")

    async def test_a_redirect_of_an_old_server_to_a_private_address(self) -> None:
        def media(connection: StubConnection, seen: Seen) -> None:
            if seen.target.startswith("/_matrix/media/v3/"):
                connection.reply(307, b"", {"Location": "https://10.0.0.1/x"})
            else:
                connection.reply(404, b'{"errcode": "M_UNRECOGNIZED"}')

        self.media = media
        await self.fails(502, "M_UNKNOWN", "location")

    async def test_a_location_is_followed_and_kept(self) -> None:
        cdn = await self.serve("cdn.example")
        await self.point_to(cdn.url("/file", "cdn.example"))
        for _ in range(2):
            self.assertEqual((await self.fetch()).body, b"hello")
        [seen] = cdn.requests
        self.assertNotIn("authorization", seen.headers)


class NetworkTest(FailureCase):
    async def test_an_unknown_name(self) -> None:
        path = f"{DOWNLOAD}/nowhere.example/abc"
        await self.fails(502, "M_UNKNOWN", "dns", path)

    async def test_a_name_server_that_does_not_answer(self) -> None:
        self.patch(guard_client, "LOOKUP_SECONDS", 0.1)
        self.dns.silent.add("silent.example")
        path = f"{DOWNLOAD}/silent.example:8448/abc"
        await self.fails(504, "M_UNKNOWN", "dns", path)

    async def test_a_server_at_a_private_address(self) -> None:
        """R8, R11."""
        self.dns.hosts["inside.example"] = ["10.0.0.1"]
        path = f"{DOWNLOAD}/inside.example:8448/abc"
        await self.fails(502, "M_UNKNOWN", "denied", path)

    async def test_a_literal_private_address(self) -> None:
        await self.fails(502, "M_UNKNOWN", "denied", f"{DOWNLOAD}/10.0.0.1:8448/abc")

    async def test_nobody_listens(self) -> None:
        self.patch(self.server.federation._client, "_rng", _NoDelay())
        port = self.remote.port
        await self.remote.stop()
        path = f"{DOWNLOAD}/remote.example:{port}/abc"
        await self.fails(502, "M_UNKNOWN", "connect", path)

    async def test_a_certificate_of_somebody_else(self) -> None:
        other = await self.serve("other.example")
        self.dns.hosts["third.example"] = ["127.0.0.1"]
        path = f"{DOWNLOAD}/third.example:{other.port}/abc"
        await self.fails(502, "M_UNKNOWN", "tls", path)
        self.assertEqual(other.requests, [])

    async def test_denied_hanging_and_missing_look_the_same(self) -> None:
        """R19."""
        self.dns.hosts["inside.example"] = ["10.0.0.1"]
        bodies = {
            (await self.get(f"{DOWNLOAD}/{name}/abc")).body
            for name in ("nowhere.example", "inside.example", "10.0.0.1:8448")
        }
        self.assertEqual(len(bodies), 1)


class HangingTest(RemoteCase):
    async def test_one_server_that_hangs_holds_up_no_other(self) -> None:
        """R20: with downloads.numWorkers at its default of 10."""
        self.media = silence  # type: ignore[assignment]
        wires = [await self.fetching(f"id{number}") for number in range(100)]
        other = await self.serve("remote.example")
        other.script = _give(envelope(b"quick"))
        path = f"{DOWNLOAD}/remote.example:{other.port}/abc"
        # The user has slots of their own, which are all taken.
        self.assertEqual((await self.get(path, token="bob-token")).body, b"quick")
        self.assertLessEqual(len(self.asked), 10)
        for wire in wires:
            wire.abort()

    async def test_a_user_who_waits_for_a_slot_holds_none_of_an_origin(self) -> None:
        """R20."""
        held = [await self.serve("remote.example") for _ in range(16)]
        for server in held:
            server.script = silence  # type: ignore[assignment]
            await self._ask(f"remote.example:{server.port}", "abc")
        await self.eventually(lambda: sum(len(s.requests) for s in held) == 16)
        for number in range(20):
            await self._ask(self.name, f"id{number}")
        await self.eventually(lambda: self.server.remote_media.running == 36)
        self.reply_file(b"quick")
        self.assertEqual((await self.fetch(token="bob-token")).body, b"quick")
        self.assertEqual(len(self.asked), 1)

    async def _ask(self, name: str, media_id: str) -> None:
        """As alice, without waiting for the answer."""
        wire = await self.wire()
        wire.send(self.head("GET", f"{DOWNLOAD}/{name}/{media_id}"))

    async def test_one_user_takes_a_part_of_the_slots_only(self) -> None:
        """R20: whatever servers they name."""
        held = [await self.serve("remote.example") for _ in range(20)]
        for server in held:
            server.script = silence  # type: ignore[assignment]
        wires = []
        for server in held:
            wire = await self.wire()
            path = f"{DOWNLOAD}/remote.example:{server.port}/abc"
            wire.send(self.head("GET", path))
            wires.append(wire)
        await self.eventually(lambda: sum(len(s.requests) for s in held) == 16)
        other = await self.serve("remote.example")
        other.script = _give(envelope(b"quick"))
        path = f"{DOWNLOAD}/remote.example:{other.port}/abc"
        self.assertEqual((await self.get(path, token="bob-token")).body, b"quick")
        self.assertEqual(sum(len(s.requests) for s in held), 16)
        for wire in wires:
            wire.abort()


def _give(body: bytes) -> Media:
    def script(connection: StubConnection, _: Seen) -> None:
        connection.reply(200, body, ENVELOPE_TYPE)

    return script


class _NoDelay:
    """A source of chance that never lets a retry wait."""

    def uniform(self, _low: float, _high: float) -> float:
        return 0.0
