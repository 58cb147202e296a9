"""Previews over HTTP: what is shown, and how often the site is asked."""

from __future__ import annotations

from urllib.parse import quote

import yaml

from mmr.metrics import REGISTRY

from tests.harness import HOST, png
from tests.rest.preview_case import (
    HTML,
    PAGE,
    PreviewCase,
    Reply,
    page,
    picture,
    zipped,
)
from tests.stub_web import StubServer, redirect_to, test_ca

_HOUR_MS = 3600 * 1000


def made(kind: str) -> float:
    """The metric."""
    name = "media_url_previews_generated_total"
    return REGISTRY.get_sample_value(name, {"type": kind}) or 0.0


class Pages(PreviewCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.paths = {"/": page(PAGE), "/sea.png": picture(png(320, 200))}

    async def test_a_page_gives_exactly_the_keys_of_mmr(self) -> None:
        before = made("opengraph")
        answer = await self.preview(self.url())
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["cache-control"], "no-store")
        shown = dict(answer.json)
        image = shown.pop("og:image")
        self.assertRegex(image, rf"\Amxc://{HOST}/[0-9a-f]{{40}}[0-9]+\Z")
        self.assertEqual(
            shown,
            {
                "og:url": self.url(),
                "og:title": "The sea & the sky",
                "og:description": "A long walk.",
                "og:site_name": "Walks",
                "og:type": "article",
                "og:image:type": "image/png",
                "og:image:width": 320,
                "og:image:height": 200,
                "matrix:image:size": len(png(320, 200)),
            },
        )
        self.assertEqual(made("opengraph"), before + 1)

    async def test_the_picture_can_be_downloaded_and_thumbnailed(self) -> None:
        media_id = (await self.shown(self.url()))["og:image"].rpartition("/")[2]
        self.assertEqual((await self.download(media_id)).body, png(320, 200))
        self.assertEqual((await self.thumbnail(media_id)).status, 200)

    async def test_the_picture_is_nobodys_and_counts_against_no_quota(self) -> None:
        """D56."""
        shown = await self.shown(self.url())
        record = await self.record(shown["og:image"].rpartition("/")[2])
        self.assertEqual(record.user_id, "")
        usage = await self.get("/_matrix/media/unstable/org.matrix.msc4034/usage")
        self.assertEqual(usage.json, {})
        self.assertEqual(await self.count("mmr_quota_reservations"), 0)

    async def test_every_path_answers(self) -> None:
        query = f"?url={quote(self.url(), safe='')}"
        for prefix in (
            "/_matrix/client/v1/media",
            "/_matrix/media/r0",
            "/_matrix/media/v1",
            "/_matrix/media/v3",
            "/_matrix/client/r0/media",
            "/_matrix/client/unstable/org.matrix.msc1902/media",
        ):
            answer = await self.get(f"{prefix}/preview_url{query}")
            self.assertEqual(answer.status, 200, prefix)
            self.assertEqual(answer.json["og:site_name"], "Walks")

    async def test_only_users_may_ask(self) -> None:
        self.assertEqual((await self.preview(self.url(), token=None)).status, 401)
        guest = await self.preview(self.url(), token="guest-token")
        self.assertEqual(guest.status, 403)
        self.assertEqual(self.asked(), 0)

    async def test_bad_parameters_are_told(self) -> None:
        for url, message in (
            ("", "No url provided"),
            ("ftp://site.example/", "Scheme not accepted"),
            ("file:///etc/passwd", "Scheme not accepted"),
            ("javascript:alert(1)", "Scheme not accepted"),
            ("gopher://site.example/", "Scheme not accepted"),
            ("data:text/html,x", "Scheme not accepted"),
            ("http://", "invalid host"),
            ("http://[::1/", "invalid host"),
        ):
            answer = await self.preview(url)
            self.assertEqual(answer.status, 400, url)
            self.assertEqual(answer.json["error"], message)
        for ts in ("now", "1.5", "1e3", "9" * 30):
            answer = await self.preview(self.url(), f"&ts={ts}")
            self.assertEqual(answer.status, 400, ts)

    async def test_redirects_are_followed(self) -> None:
        self.paths["/old"] = redirect_to("/")
        shown = await self.shown(self.url("/old"))
        self.assertEqual(shown["og:title"], "The sea & the sky")

    async def test_a_compressed_page_is_read(self) -> None:
        """R17."""
        self.paths["/"] = zipped(page(PAGE))
        self.assertEqual((await self.shown(self.url()))["og:site_name"], "Walks")
        self.assertIn("gzip", self.site.requests[0].headers["accept-encoding"])
        self.assertEqual(self.site.requests[1].headers["accept-encoding"], "identity")

    async def test_the_site_learns_nothing_of_the_client(self) -> None:
        """R19."""
        await self.shown(self.url("/") + "#fragment", headers={"Cookie": "a=b"})
        for seen in self.site.requests:
            self.assertLessEqual(
                set(seen.headers),
                {"host", "accept", "accept-encoding", "accept-language", "user-agent"},
            )
            self.assertEqual(seen.headers["user-agent"], "matrix-media-repo")
        self.assertEqual(self.site.requests[0].target, "/")

    async def test_a_page_without_anything_gives_its_url(self) -> None:
        self.paths["/"] = page("")
        self.assertEqual(await self.shown(self.url()), {"og:url": self.url()})

    async def test_a_plain_page_is_calculated_from_its_text(self) -> None:
        before = made("calculated")
        self.paths["/"] = page(
            "<title>Plain</title><script>evil()</script><p>Some text.</p>"
        )
        shown = await self.shown(self.url())
        self.assertEqual(shown["og:title"], "Plain")
        self.assertEqual(shown["og:description"], "Some text.")
        self.assertEqual(made("calculated"), before + 1)


class Cache(PreviewCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.paths = {"/": page(PAGE), "/sea.png": picture()}

    async def test_the_second_time_the_site_is_not_asked(self) -> None:
        """D46."""
        first = await self.shown(self.url())
        asked, queries = self.asked(), self.server.db.queries
        self.assertEqual(await self.shown(self.url() + "#other"), first)
        self.assertEqual(self.asked(), asked)
        # One indexed look-up.
        self.assertEqual(self.server.db.queries, queries + 1)

    async def test_each_language_has_a_preview_of_its_own(self) -> None:
        for language in ("de", "fr;q=0.8, de"):
            for _ in range(2):
                await self.shown(self.url(), headers={"Accept-Language": language})
        await self.shown(self.url())
        await self.shown(self.url(), headers={"Accept-Language": "x" * 500})
        asked = [
            seen.headers["accept-language"]
            for seen in self.site.requests
            if seen.target == "/"
        ]
        self.assertEqual(asked, ["de", "fr;q=0.8, de", "en-US,en"])

    async def test_a_time_in_the_past_gets_the_preview_of_then_else_of_now(
        self,
    ) -> None:
        now = self.server.clock.time_ms()
        first = await self.shown(self.url(), f"&ts={now - 50 * _HOUR_MS}")
        await self.server.db.interaction(
            "t",
            lambda txn: txn.execute(
                "UPDATE mmr_url_previews SET bucket_ts = bucket_ts - ?, title = 'Then'",
                (50 * _HOUR_MS,),
            ),
        )
        old = await self.shown(self.url(), f"&ts={now - 50 * _HOUR_MS}")
        self.assertEqual(old, {**first, "og:title": "Then"})
        new = await self.shown(self.url())
        self.assertEqual(new["og:title"], first["og:title"])
        self.assertEqual(self.asked("/"), 2)

    async def test_no_preview_is_made_for_the_future(self) -> None:
        later = self.server.clock.time_ms() + 1000 * _HOUR_MS
        await self.shown(self.url(), f"&ts={later}")
        await self.shown(self.url())
        await self.shown(self.url(), "&ts=-5")
        self.assertEqual(self.asked("/"), 1)
        self.assertEqual(await self.count("mmr_url_previews"), 1)

    async def test_twenty_at_once_are_one_fetch(self) -> None:
        answers = await self.at_once(*[self.url()] * 20)
        self.assertEqual([answer.status for answer in answers], [200] * 20)
        self.assertEqual(len({answer.body for answer in answers}), 1)
        self.assertEqual(self.asked("/"), 1)

    async def test_a_failure_is_remembered_by_its_cause(self) -> None:
        self.paths = {"/busy": Reply(status=503)}
        now = self.server.clock.monotonic()
        self.patch(self.server.clock, "monotonic", lambda: now)
        for path in ("/gone", "/busy"):
            for _ in range(2):
                await self.assert_none(self.url(path))
            self.assertEqual(self.asked(path), 1)
        now += 61
        self.paths = {"/gone": page(PAGE), "/busy": page(PAGE)}
        await self.assert_none(self.url("/gone"))
        await self.shown(self.url("/busy"))
        now += 3600
        await self.shown(self.url("/gone"))

    async def test_a_changed_configuration_gives_failures_another_try(self) -> None:
        await self.assert_none(self.url("/late"))
        self.paths["/late"] = page(PAGE)
        self.server.reload(self.server.config)
        await self.shown(self.url("/late"))

    async def test_a_quarantined_picture_is_left_out(self) -> None:
        shown = await self.shown(self.url())
        await self.quarantine(shown["og:image"].rpartition("/")[2])
        again = await self.shown(self.url())
        self.assertEqual([key for key in again if "image" in key], [])
        self.assertEqual(again["og:title"], shown["og:title"])
        # And none with the same content is stored (R86).
        other = await self.shown(self.url(), headers={"Accept-Language": "de"})
        self.assertEqual([key for key in other if "image" in key], [])
        self.assertEqual(await self.count("media"), 1)


class Disabled(PreviewCase):
    previews = {"enabled": False}

    async def test_there_is_no_preview(self) -> None:
        answer = await self.preview(self.url())
        self.assertEqual((answer.status, answer.json["errcode"]), (404, "M_NOT_FOUND"))
        self.assertEqual(self.asked(), 0)


class Certificates(PreviewCase):
    async def serve_tls(self) -> StubServer:
        server = await self.serve(certificate=test_ca().issue("site.example"))
        server.body, server.headers = PAGE, HTML
        return server

    async def test_an_unknown_one_is_refused(self) -> None:
        """R18."""
        server = await self.serve_tls()
        await self.assert_none(server.url("/", "site.example"))
        self.assertEqual(server.requests, [])


class UnsafeCertificates(Certificates):
    previews = {"previewUnsafeCertificates": True}

    async def test_an_unknown_one_is_refused(self) -> None:
        """The switch skips the certificate, and nothing else (D29, R18)."""
        server = await self.serve_tls()
        shown = await self.shown(server.url("/", "site.example"))
        self.assertEqual(shown["og:site_name"], "Walks")
        inside = await self.serve(
            "127.0.0.2", certificate=test_ca().issue("inside.example")
        )
        self.dns.hosts["inside.example"] = ["127.0.0.2"]
        await self.assert_none(inside.url("/", "inside.example"))
        self.assertEqual(inside.accepted, 0)


class Freeze(PreviewCase):
    frozen = True

    def write_config(self, cs_api: str) -> None:
        super().write_config(cs_api)
        settings = yaml.safe_load(self.config_file.read_text())
        settings["repo"]["freezeUnauthenticatedMedia"] = self.frozen
        self.config_file.write_text(yaml.safe_dump(settings))

    async def test_a_picture_is_frozen_as_all_media_are(self) -> None:
        self.paths = {"/cat.png": picture()}
        shown = await self.shown(self.url("/cat.png"))
        media_id = shown["og:image"].rpartition("/")[2]
        self.assertEqual((await self.record(media_id)).requires_auth, self.frozen)
        old = await self.get(
            f"/_matrix/media/v3/download/{HOST}/{media_id}", token=None
        )
        self.assertEqual(old.status, 404 if self.frozen else 200)


class NoFreeze(Freeze):
    frozen = False


class Settings(PreviewCase):
    previews = {
        "numWords": 3,
        "numTitleWords": 2,
        "userAgent": "Böt/1.0",
        "defaultLanguage": "fr",
    }

    async def test_texts_and_headers_follow_them(self) -> None:
        self.paths["/"] = page(PAGE.replace(b"A long walk", b"A very long walk"))
        shown = await self.shown(self.url())
        self.assertEqual(shown["og:title"], "The sea")
        self.assertEqual(shown["og:description"], "A very long")
        headers = self.site.requests[0].headers
        self.assertEqual(headers["user-agent"], "B?t/1.0")
        self.assertEqual(headers["accept-language"], "fr")
