"""Previews of bodies that are meant to hurt: never a 500, never a hang."""

from __future__ import annotations

import gzip
import time

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.harness import png
from tests.rest.preview_case import (
    HTML,
    NO_PREVIEW,
    PAGE,
    PreviewCase,
    Reply,
    page,
    picture,
)
from tests.stub_web import (
    Seen,
    StubConnection,
    silence,
)

_ENDLESS_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"


class Bodies(PreviewCase):
    previews = {"maxPageSizeBytes": 200_000}
    config = {"timeouts": {"urlPreviewTimeoutSeconds": 2}}

    async def flood(
        self, connection: StubConnection, head: bytes, piece: bytes
    ) -> None:
        """Send for as long as somebody listens."""
        connection.send(head)
        self.flooded = 0
        while connection.is_open and self.flooded < 100_000_000:
            connection.send(piece)
            self.flooded += len(piece)
            await deferLater(reactor, 0)  # type: ignore[arg-type]

    async def test_an_endless_page_is_cut(self) -> None:
        """R16."""

        async def endless(connection: StubConnection, _: Seen) -> None:
            await self.flood(connection, _ENDLESS_HEAD + PAGE, b"<p>more</p>" * 1000)

        self.paths["/"] = endless
        self.assertEqual((await self.shown(self.url()))["og:site_name"], "Walks")
        self.assertLess(self.flooded, 20_000_000)

    async def test_a_page_that_says_it_is_too_long_is_not_read(self) -> None:
        self.paths["/"] = page(PAGE + b" " * 300_000)
        await self.assert_none(self.url())

    async def test_a_bomb_is_cut_where_it_gets_too_large(self) -> None:
        """R17."""
        bomb = gzip.compress(PAGE + b"\0" * 50_000_000)
        self.paths["/"] = Reply(bomb, {**HTML, "Content-Encoding": "gzip"})
        self.assertEqual((await self.shown(self.url()))["og:site_name"], "Walks")

    async def test_broken_compression(self) -> None:
        for number, (body, coding) in enumerate(
            (
                (b"not gzip", "gzip"),
                (gzip.compress(PAGE)[:-20], "gzip"),
                (gzip.compress(gzip.compress(PAGE)), "gzip, gzip"),
                (PAGE, "br"),
            )
        ):
            path = f"/{number}"
            self.paths[path] = Reply(body, {**HTML, "Content-Encoding": coding})
            await self.assert_none(self.url(path))

    async def test_endless_sound_ends_at_the_headers(self) -> None:
        """R22: a radio station."""

        async def radio(connection: StubConnection, _: Seen) -> None:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n"
            await self.flood(connection, head, b"\xff" * 1000)

        self.paths["/"] = radio
        await self.assert_none(self.url())
        await self.eventually(lambda: not self.site.connections)
        self.assertLess(self.flooded, 5_000_000)

    async def test_slow_sites_end_in_time_and_hold_nothing(self) -> None:
        """R15: at the head, within the body, or between pieces."""

        ended = []

        async def trickle(connection: StubConnection, _: Seen) -> None:
            connection.send(_ENDLESS_HEAD)
            while connection.is_open:
                connection.send(b" ")
                await deferLater(reactor, 0.1)  # type: ignore[arg-type]
            ended.append(connection)

        self.paths = {"/silent": silence, "/trickle": trickle}
        started = time.monotonic()
        urls = [self.url(path) for path in self.paths]
        answers = await self.at_once(*urls)
        self.assertEqual([answer.json for answer in answers], [NO_PREVIEW] * 2)
        self.assertLess(time.monotonic() - started, 10)
        await self.eventually(lambda: bool(ended) and not self.site.connections)

    async def test_a_slow_picture_doesnt_cost_the_preview(self) -> None:
        self.paths = {"/": page(PAGE), "/sea.png": silence}
        shown = await self.shown(self.url())
        self.assertNotIn("og:image", shown)
        self.assertEqual(shown["og:site_name"], "Walks")

    async def test_a_picture_that_is_too_large(self) -> None:
        self.paths = {"/": page(PAGE), "/sea.png": picture(png() + b"\0" * 300_000)}
        self.assertNotIn("og:image", await self.shown(self.url()))
        # As a file of its own, it is named.
        shown = await self.preview(self.url("/sea.png"))
        self.assertEqual(shown.status, 404)

    async def test_error_pages(self) -> None:
        for status in (204, 206, 301, 304, 400, 403, 404, 418, 429, 500, 503):
            self.paths[f"/{status}"] = Reply(PAGE, HTML, status)
            await self.assert_none(self.url(f"/{status}"))

    async def test_responses_that_are_no_http(self) -> None:
        for number, data in enumerate(
            (
                b"220 mail ESMTP\r\n\r\n",
                b"",
                b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
                b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            )
        ):

            def raw(connection: StubConnection, _: Seen, data: bytes = data) -> None:
                connection.send(data)
                connection.close()

            self.paths[f"/{number}"] = raw
            await self.assert_none(self.url(f"/{number}"))


class Html(PreviewCase):
    async def test_a_million_nested_tags(self) -> None:
        """R24."""
        self.paths["/"] = page(b"<title>Deep</title>" + b"<div>" * 1_000_000)
        self.assertEqual((await self.shown(self.url()))["og:title"], "Deep")

    async def test_hard_pages_dont_hold_up_the_server(self) -> None:
        """R23."""
        for number, unit in enumerate(
            (b"<p ", b"<!--", b"<a b='", b"&#x0;", b"<", b"]]>")
        ):
            count = 4_000_000 // len(unit)
            self.paths[f"/{number}"] = page(b"<title>T</title>" + unit * count)
        answering = Deferred.fromCoroutine(
            self.at_once(*(self.url(path) for path in self.paths))
        )
        slowest = 0.0
        while not answering.called:
            started = time.monotonic()
            self.assertEqual((await self.get("/healthz", token=None)).status, 200)
            slowest = max(slowest, time.monotonic() - started)
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]
        for answer in await answering:
            self.assertEqual(answer.status, 200)
        self.assertLess(slowest, 1.0)

    async def test_broken_charsets(self) -> None:
        """R26."""
        for number, content_type in enumerate(
            (
                "text/html; charset=utf-7",
                "text/html; charset=punycode",
                "text/html; charset=unicode_escape",
                "text/html; charset=no-such",
                'text/html; charset="',
                "text/html; charset=utf-16",
                "TEXT/HTML;;;charset",
            )
        ):
            html = b"<title>Caf\xc3\xa9 \xff\xfe\x00 +ADw-script+AD4-</title>"
            path = f"/{number}"
            self.paths[path] = page(html, content_type)
            answer = await self.preview(self.url(path))
            self.assertEqual(answer.status, 200, content_type)

    async def test_fields_are_plain_text_and_bounded(self) -> None:
        """R27."""
        evil = "<b>x</b>\u202egpj\x00\x1b[31m" + "long " * 200_000
        tags = "".join(
            f'<meta property="og:{name}" content="{evil}">'
            for name in ("title", "description", "site_name", "type")
        )
        urls = '<meta property="og:url" content="javascript:alert(1)">'
        images = '<meta property="og:image" content="data:image/png;base64,AAAA">'
        self.paths["/"] = page(f"<html><head>{urls}{images}{tags}</head></html>")
        shown = await self.shown(self.url())
        self.assertEqual(shown["og:url"], self.url())
        self.assertNotIn("og:image", shown)
        for key, value in shown.items():
            self.assertLess(len(value), 1100, key)
            self.assertNotRegex(value, "[\x00-\x1f\u202e]")

    async def test_a_picture_that_is_none(self) -> None:
        self.paths = {
            "/": page(PAGE),
            "/sea.png": picture(b"\x89PNG\r\n\x1a\n" + b"\0" * 1000),
        }
        shown = await self.shown(self.url())
        self.assertNotIn("og:image", shown)
        self.assertEqual(await self.count("media"), 0)

    async def test_a_picture_with_too_many_pixels(self) -> None:
        """R30."""
        huge = bytearray(png(10, 10))
        huge[16:24] = (60_000).to_bytes(4, "big") * 2
        self.paths = {"/": page(PAGE), "/sea.png": picture(bytes(huge))}
        self.assertNotIn("og:image", await self.shown(self.url()))
