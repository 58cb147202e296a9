"""Where a preview comes from: pictures, files, oEmbed."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from mmr.metrics import REGISTRY
from mmr.previews.oembed import Providers

from tests.harness import png
from tests.rest.preview_case import (
    PAGE,
    PreviewCase,
    Reply,
    page,
    picture,
)


def made(kind: str) -> float:
    """The metric."""
    name = "media_url_previews_generated_total"
    return REGISTRY.get_sample_value(name, {"type": kind}) or 0.0


class Pictures(PreviewCase):
    def with_images(self, *urls: str) -> None:
        tags = "".join(f'<meta property="og:image" content="{url}">' for url in urls)
        self.paths["/"] = page(f"<title>T</title>{tags}")

    async def test_the_next_one_is_taken_when_the_best_fails(self) -> None:
        self.with_images("/gone.png", "/not.png", "/good.png")
        self.paths["/not.png"] = picture(b"<html>no picture</html>")
        self.paths["/good.png"] = picture(png(90, 80))
        shown = await self.shown(self.url())
        self.assertEqual((shown["og:image:width"], shown["og:image:height"]), (90, 80))

    async def test_a_preview_makes_four_requests_at_most(self) -> None:
        self.with_images(*(f"/{n}.png" for n in range(10)))
        self.assertEqual((await self.shown(self.url()))["og:title"], "T")
        self.assertEqual(self.asked(), 4)

    async def test_the_type_is_what_the_bytes_say(self) -> None:
        self.with_images("/a.jpg")
        self.paths["/a.jpg"] = picture(png(10, 10), "image/jpeg; charset=x")
        shown = await self.shown(self.url())
        self.assertEqual(shown["og:image:type"], "image/png")

    async def test_no_other_file_is_fetched_as_a_picture(self) -> None:
        """R22."""
        for number, content_type in enumerate(
            ("image/svg+xml", "text/html", "a/b", "")
        ):
            self.paths["/a.png"] = picture(png(10, 10), content_type)
            path = f"/{number}"
            self.paths[path] = page(PAGE.replace(b"/sea.png", b"/a.png"))
            self.assertNotIn("og:image", await self.shown(self.url(path)))

    async def test_the_same_picture_is_stored_once_for_two_previews(self) -> None:
        for path in ("/a", "/b"):
            self.paths[path] = page(PAGE)
        self.paths["/sea.png"] = picture()
        one, two = [await self.shown(self.url(path)) for path in ("/a", "/b")]
        self.assertNotEqual(one["og:image"], two["og:image"])
        self.assertEqual(len(self.files()), 1)

    async def test_a_file_that_is_a_picture_shows_itself(self) -> None:
        self.paths["/cat.png"] = picture(png(30, 20))
        shown = await self.shown(self.url("/cat.png"))
        self.assertTrue(shown.pop("og:image").startswith("mxc://"))
        self.assertEqual(
            shown,
            {
                "og:url": self.url("/cat.png"),
                "og:title": self.url("/cat.png"),
                "og:image:type": "image/png",
                "og:image:width": 30,
                "og:image:height": 20,
                "matrix:image:size": len(png(30, 20)),
            },
        )
        self.assertEqual(self.asked(), 1)

    async def test_its_title_is_the_name_that_the_site_gives_it(self) -> None:
        reply = picture()
        reply.headers["Content-Disposition"] = (
            "inline; filename*=UTF-8''..%2Fa%E2%80%AEb.png"
        )
        self.paths["/x"] = reply
        self.assertEqual((await self.shown(self.url("/x")))["og:title"], "ab.png")

    async def test_a_broken_picture_gives_no_picture(self) -> None:
        self.paths["/cat.png"] = picture(png()[:40])
        shown = await self.shown(self.url("/cat.png"))
        self.assertEqual(
            shown, {"og:url": shown["og:url"], "og:title": shown["og:url"]}
        )


class Files(PreviewCase):
    previews = {"filePreviewTypes": ["image/*", "video/*"]}

    async def test_any_of_several_types_will_do(self) -> None:
        """D47. The file itself is not fetched."""
        self.paths["/film"] = Reply(
            b"\0" * 3_400_000,
            {
                "Content-Type": "video/mp4",
                "Content-Disposition": 'attachment; filename="film.mp4"',
            },
        )
        shown = await self.shown(self.url("/film"))
        self.assertEqual(
            shown,
            {
                "og:url": self.url("/film"),
                "og:title": "film.mp4",
                "og:description": "video/mp4, 3.4 MB",
            },
        )

    async def test_other_types_have_no_preview(self) -> None:
        for content_type in ("application/pdf", "text/plain", ""):
            self.paths["/" + content_type] = Reply(
                b"data", {"Content-Type": content_type}
            )
            await self.assert_none(self.url("/" + content_type))


class OEmbed(PreviewCase):
    previews = {"oEmbed": True}

    async def setUp(self) -> None:
        await super().setUp()
        self.paths = {"/": page(PAGE), "/sea.png": picture(png(5, 5))}
        provider = {
            "provider_name": "Films",
            "provider_url": "http://site.example",
            "endpoints": [
                {"schemes": ["http://site.example/films/*"], "url": self.url("/embed")}
            ],
        }
        # Wildcard hosts have no port.
        self.server._providers = Providers.load(json.dumps([provider]))
        self.film = "/films/1"

    def answer(self, **fields: Any) -> Reply:
        body = json.dumps({"version": "1.0", "type": "video", **fields}).encode()
        return Reply(body, {"Content-Type": "application/json; charset=utf-8"})

    @property
    def endpoint(self) -> str:
        return f"/embed?format=json&url={quote(self.url(self.film), safe='')}"

    async def test_a_known_provider_is_asked_instead_of_the_page(self) -> None:
        before = made("oembed")
        self.paths[self.endpoint] = self.answer(
            title="A film", thumbnail_url=self.url("/sea.png")
        )
        shown = await self.shown(self.url(self.film))
        self.assertEqual(
            (shown["og:title"], shown["og:site_name"], shown["og:type"]),
            ("A film", "Films", "video"),
        )
        self.assertEqual(shown["og:image:width"], 5)
        self.assertEqual(self.asked(self.film), 0)
        self.assertEqual(made("oembed"), before + 1)

    async def test_the_page_stands_in_for_a_provider_that_fails(self) -> None:
        """D47."""
        self.paths[self.film] = page(PAGE)
        for reply in (
            Reply(status=500),
            Reply(b"{", {"Content-Type": "application/json"}),
            Reply(b"[" * 30_000, {"Content-Type": "application/json"}),
            Reply(b"<oembed/>", {"Content-Type": "text/xml"}),
            Reply(b" " * 50_000, {"Content-Type": "application/json"}),
        ):
            self.paths[self.endpoint] = reply
            await self.server.db.interaction(
                "t", lambda txn: txn.execute("DELETE FROM mmr_url_previews")
            )
            shown = await self.shown(self.url(self.film))
            self.assertEqual(shown["og:title"], "The sea & the sky", reply)

    async def test_a_page_may_name_its_own_answer(self) -> None:
        link = '<link rel="alternate" type="application/json+oembed" href="/own">'
        self.paths["/"] = page(PAGE.replace(b"</head>", link.encode() + b"</head>"))
        self.paths["/own"] = self.answer(title="By oEmbed", type="rich")
        shown = await self.shown(self.url())
        self.assertEqual(shown["og:title"], "By oEmbed")
        # What the answer doesn't say, the page does.
        self.assertEqual(shown["og:description"], "A long walk.")
        self.assertIn("og:image", shown)

    async def test_the_page_is_enough_when_its_answer_is_not_there(self) -> None:
        link = '<link rel="alternate" type="application/json+oembed" href="/own">'
        self.paths["/"] = page(PAGE.replace(b"</head>", link.encode() + b"</head>"))
        shown = await self.shown(self.url())
        self.assertEqual(shown["og:title"], "The sea & the sky")


class Assets(PreviewCase):
    previews = {"oEmbed": True}

    async def ask_for_a_film(self, providers: str) -> None:
        self.server.assets = self.folder
        (self.folder / "providers.json").write_text(providers)
        self.paths["/film"] = page(PAGE)
        await self.shown(self.url("/film"))

    async def test_the_operator_may_have_another_list_of_providers(self) -> None:
        schemes = ["http://site.example/*"]
        endpoints = [{"schemes": schemes, "url": self.url("/embed")}]
        name = {"provider_name": "P", "provider_url": "http://p"}
        await self.ask_for_a_film(json.dumps([{**name, "endpoints": endpoints}]))
        self.assertTrue(self.site.requests[0].target.startswith("/embed?"))

    async def test_a_list_that_is_none_gives_way_to_ours(self) -> None:
        for providers in ("{", "[1]"):
            self.server._providers = None
            with self.assertLogs("mmr.server.previewing", "ERROR"):
                await self.ask_for_a_film(providers)
            await self.server.db.interaction(
                "t", lambda txn: txn.execute("DELETE FROM mmr_url_previews")
            )
        self.assertEqual(self.site.requests[0].target, "/film")
