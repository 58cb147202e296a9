"""Previews of what is meant to hurt: never a 500, a hang, or a way inside."""

from __future__ import annotations

import gzip
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.harness import png
from tests.rest.preview_case import (
    HTML,
    INSIDE,
    NO_PREVIEW,
    PAGE,
    PreviewCase,
    Reply,
    page,
    picture,
)
from tests.stub_web import (
    LOOPBACK,
    Seen,
    StubConnection,
    StubServer,
    redirect_to,
    silence,
)

_ENDLESS_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"


class WaysInside(PreviewCase):
    """R8 to R14: `inside` listens where only the server's own network gets."""

    async def setUp(self) -> None:
        await super().setUp()
        self.inside = await self.serve(INSIDE)
        self.inside.body, self.inside.headers = PAGE, HTML
        self.port = self.inside.port

    async def assert_refused(self, url: str, **kwargs: Any) -> None:
        await self.assert_none(url, **kwargs)
        self.assertEqual(self.inside.accepted, 0, url)

    async def test_every_spelling_of_an_inner_address(self) -> None:
        """R9, R10, R12."""
        for host in (
            INSIDE,
            "127.2",
            "127.0.2",
            "2130706434",
            "0x7f000002",
            "0x7f.0.0.2",
            "0177.0.0.2",
            "127.0.0.2.",
            "127.000.000.002",
            "%31%32%37.0.0.2",
            "\uff11\uff12\uff17.0.0.2",
            "127\u30020\u30020\u30022",
            "[::ffff:127.0.0.2]",
            "[::ffff:7f00:2]",
            "[::127.0.0.2]",
            "[64:ff9b::7f00:2]",
            "[64:ff9b:1::7f00:2]",
            "[2002:7f00:2::]",
            "[::ffff:0:127.0.0.2]",
            "[fe80::5efe:7f00:2]",
            "[::1]",
            "[::]",
            "[::1%25lo]",
            "0",
            "0.0.0.0",
            "localhost",
            "user:password@127.0.0.2",
            "site.example@127.0.0.2",
            "site.example\\@127.0.0.2",
            "127.0.0.2\t",
            "127.0.0.2 ",
        ):
            await self.assert_refused(f"http://{host}:{self.port}/")

    async def test_user_info_even_for_an_allowed_site(self) -> None:
        """R12."""
        self.paths["/"] = page(PAGE)
        await self.assert_refused(f"http://me@site.example:{self.site.port}/")
        self.assertEqual(self.site.accepted, 0)

    async def test_ports_of_other_services(self) -> None:
        """R13."""
        for port in (22, 25, 5432, 6379, 11211, 0, 65536, 99999):
            await self.assert_refused(f"http://site.example:{port}/")
        self.assertEqual(self.dns.asked, [])

    async def test_a_name_of_an_inner_address(self) -> None:
        """R11: one address inside refuses the name."""
        for number, addresses in enumerate(
            ([INSIDE], [LOOPBACK, INSIDE], ["::1"], ["10.0.0.1"], ["169.254.169.254"])
        ):
            name = f"n{number}.example"
            self.dns.hosts[name] = addresses
            await self.assert_refused(f"http://{name}:{self.port}/")

    async def test_a_name_that_moves_inside(self) -> None:
        """R11: a name is looked up once for a request, and judged each time."""
        self.dns.hosts["moving.example"] = [[LOOPBACK], [INSIDE]]
        self.paths["/"] = redirect_to(f"http://moving.example:{self.port}/again")
        await self.assert_refused(self.site.url("/", "moving.example"))
        self.assertEqual(self.dns.asked, ["moving.example"] * 2)

    async def test_redirects(self) -> None:
        """R14."""
        for number, location in enumerate(
            (
                self.inside.url(),
                f"//{INSIDE}:{self.port}/",
                f"http://[::ffff:{INSIDE}]:{self.port}/",
                f"http://me@{INSIDE}:{self.port}/",
                "file:///etc/passwd",
                "gopher://site.example/",
                "http://site.example:6379/",
                "",
                "http://",
            )
        ):
            self.paths[f"/{number}"] = redirect_to(location)
            await self.assert_refused(self.url(f"/{number}"))

    async def test_redirects_without_end(self) -> None:
        """R14."""
        self.paths["/ring"] = redirect_to("/ring")
        await self.assert_refused(self.url("/ring"))
        self.assertEqual(self.asked("/ring"), 6)

    async def test_a_picture_inside_gives_a_preview_without_one(self) -> None:
        self.paths["/hop.png"] = redirect_to(self.inside.url("/a.png"))
        for number, image in enumerate(
            (self.inside.url("/a.png"), "/hop.png", f"//{INSIDE}:{self.port}/a")
        ):
            html = PAGE.replace(b"/sea.png", image.encode())
            self.paths[f"/{number}"] = page(html)
            shown = await self.shown(self.url(f"/{number}"))
            self.assertEqual(shown["og:title"], "The sea & the sky")
            self.assertNotIn("og:image", shown)
        self.assertEqual(self.inside.accepted, 0)

    async def test_meta_refresh_and_scripts_are_not_followed(self) -> None:
        """R27."""
        target = self.inside.url()
        self.paths["/"] = page(
            f'<meta http-equiv="refresh" content="0; url={target}"><title>T</title>'
            f"<script>location = '{target}'</script><iframe src='{target}'></iframe>"
            f"<link rel='stylesheet' href='{target}'>"
        )
        self.assertEqual((await self.shown(self.url()))["og:title"], "T")
        self.assertEqual(self.inside.accepted, 0)

    async def test_denied_closed_silent_and_missing_look_the_same(self) -> None:
        """R19."""
        closed = await self.serve()
        await closed.stop()
        self.dns.silent.add("silent.example")
        answers = [
            await self.preview(url)
            for url in (
                self.inside.url(),
                f"http://{LOOPBACK}:9/",
                self.url("/missing"),
                "http://unknown.example/",
                "http://me@site.example/",
            )
        ]
        self.assertEqual({answer.body for answer in answers}, {answers[0].body})
        self.assertEqual({answer.status for answer in answers}, {404})
        self.assertEqual(answers[0].json, NO_PREVIEW)


class OEmbedInside(PreviewCase):
    previews = {"oEmbed": True}

    async def test_an_answer_inside_is_not_asked_for(self) -> None:
        """R8."""
        inside = await self.serve(INSIDE)
        link = f'<link type="application/json+oembed" href="{inside.url("/o")}">'
        self.paths["/"] = page(PAGE + link.encode())
        self.assertEqual((await self.shown(self.url()))["og:site_name"], "Walks")
        self.assertEqual(inside.accepted, 0)


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


class Busy(PreviewCase):
    """R20."""

    previews = {"numWorkers": 6}

    async def test_one_slow_site_doesnt_hold_up_the_others(self) -> None:
        slow = await self.serve()
        slow.script = silence
        self.dns.hosts["slow.example"] = [LOOPBACK]
        self.paths["/"] = page(PAGE)
        waiting = [
            Deferred.fromCoroutine(
                self.preview(slow.url(f"/{n}", "slow.example"), token="bob-token")
            )
            for n in range(100)
        ]
        await self.eventually(lambda: len(slow.requests) == 4)
        started = time.monotonic()
        await self.shown(self.url())
        self.assertLess(time.monotonic() - started, 5)
        self.assertEqual(len(slow.requests), 4)
        # Those past the bound were refused at once.
        refused = [d.result for d in waiting if d.called]
        self.assertEqual({answer.status for answer in refused}, {503})
        self.assertGreaterEqual(len(refused), 40)
        await self.give_up(slow, waiting)

    async def give_up(self, slow: StubServer, waiting: list[Deferred[Any]]) -> None:
        """End what still waits."""
        self.server.previews.stop()
        for each in waiting:
            self.assertIn((await each).status, (404, 503))
        self.assertEqual(self.server.previews._admission.running, 0)
        self.assertEqual(self.server.previews._admission.waiting, 0)

    async def test_a_full_queue_is_a_503_that_is_not_remembered(self) -> None:
        slow = await self.serve()
        slow.script = silence
        self.dns.hosts["slow.example"] = [LOOPBACK]
        urls = [slow.url(f"/{n}", "slow.example") for n in range(60)]
        waiting = [Deferred.fromCoroutine(self.preview(url)) for url in urls]
        await self.eventually(lambda: any(each.called for each in waiting))
        busy = [url for url, each in zip(urls, waiting, strict=True) if each.called]
        await self.give_up(slow, waiting)
        slow.script = page(PAGE).script
        self.assertEqual((await self.preview(busy[0])).status, 200)
