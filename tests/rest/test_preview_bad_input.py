"""Previews of what must not be reached, and of sites that hold others up."""

from __future__ import annotations

import time
from typing import Any
from unittest import SkipTest

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from tests.rest.preview_case import (
    HTML,
    INSIDE,
    NO_PREVIEW,
    PAGE,
    PreviewCase,
    page,
)
from tests.stub_web import (
    LOOPBACK,
    StubServer,
    redirect_to,
    silence,
)


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


class OverIpv6(PreviewCase):
    previews = {"exemptNetworks": ["::1/128"]}

    async def test_a_site_on_ipv6_is_previewed(self) -> None:
        """D55: the default is both families. And one exemption opens no other."""
        try:
            site = await self.serve("::1")
        except CannotListenError:
            raise SkipTest("this machine has no IPv6") from None
        site.body, site.headers = PAGE, HTML
        self.dns.hosts["six.example"] = ["::1"]
        shown = await self.shown(site.url("/", "six.example"))
        self.assertEqual(shown["og:site_name"], "Walks")
        self.assertEqual(
            (await self.shown(site.url("/", "[::1]")))["og:type"], "article"
        )
        await self.assert_none(self.url())
        self.assertEqual(self.site.accepted, 0)


class NarrowNetworks(PreviewCase):
    previews = {"allowedNetworks": ["127.0.0.0/8", "8.0.0.0/8"]}

    async def test_the_allowed_ones_open_nothing_that_is_denied(self) -> None:
        """R9: the site itself is exempt, its neighbour isn't."""
        inside = await self.serve(INSIDE)
        await self.assert_none(inside.url())
        self.dns.hosts["outside.example"] = ["1.1.1.1"]
        await self.assert_none("http://outside.example/")
        self.paths["/"] = page(PAGE)
        await self.shown(self.url())
        self.assertEqual(inside.accepted, 0)
