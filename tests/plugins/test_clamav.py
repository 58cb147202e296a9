"""A real ``clamd`` looks at everything that is to be kept."""

from __future__ import annotations

import functools
import io
import os
from typing import Any

from PIL import Image, PngImagePlugin

from twisted.internet.defer import Deferred, gatherResults

from tests.harness import ServerCase
from tests.plugins.clamd import BAD, STREAM_MAX_BYTES, ClamdServer
from tests.rest.preview_case import PreviewCase, page, picture
from tests.rest.remote_case import RemoteCase


@functools.cache
def clamd() -> ClamdServer:
    return ClamdServer()


def plugin(**more: Any) -> list[dict[str, Any]]:
    config = {"address": str(clamd().socket)}
    return [{"module": "clamav", "config": config, **more}]


def bad_picture() -> bytes:
    """A picture with the signature in its comment."""
    comment = PngImagePlugin.PngInfo()
    comment.add_text("Comment", BAD.decode())
    out = io.BytesIO()
    Image.new("RGB", (300, 200), "red").save(out, "PNG", pnginfo=comment)
    return out.getvalue()


class UploadTests(ServerCase):
    policy = "refuse"

    def write_config(self, cs_api: str) -> None:
        self.config = {"plugins": plugin(onFailure=self.policy)}  # type: ignore[misc]
        super().write_config(cs_api)

    async def status_of(self, data: bytes) -> int:
        answer = await self.request("POST", "/_matrix/media/v3/upload", body=data)
        return answer.status

    async def test_what_it_has_a_signature_for_is_refused(self) -> None:
        self.assertEqual(await self.status_of(b"before " + BAD + b" behind"), 403)
        self.assertTrue(await self.is_empty())

    async def test_the_end_of_a_large_file_is_looked_at(self) -> None:
        # Else it might take it for another kind of file, and look at parts only.
        filler = b"text " * 600_000
        self.assertEqual(await self.status_of(filler), 200)
        self.assertEqual(await self.status_of(filler + BAD), 403)

    async def test_what_is_too_large_for_it_is_not_taken_for_fine(self) -> None:
        """R86."""
        self.assertEqual(await self.status_of(os.urandom(STREAM_MAX_BYTES + 1)), 503)
        self.assertTrue(await self.is_empty())

    async def test_questions_at_the_same_time(self) -> None:
        bodies = [b"fine %d" % number for number in range(8)] + [BAD]
        statuses = await gatherResults(
            [Deferred.fromCoroutine(self.status_of(body)) for body in bodies]
        )
        self.assertEqual(statuses, [200] * 8 + [403])


class LenientUploadTests(UploadTests):
    policy = "pass"

    async def test_what_is_too_large_for_it_is_not_taken_for_fine(self) -> None:
        """Unless the operator says so."""
        self.assertEqual(await self.status_of(os.urandom(STREAM_MAX_BYTES + 1)), 200)


class RemoteTests(RemoteCase):
    def change_config(self, settings: dict[str, Any]) -> None:
        settings["plugins"] = plugin()

    async def test_files_of_other_servers_are_looked_at(self) -> None:
        """R86, R87."""
        self.reply_file(bad_picture())
        self.assertEqual((await self.fetch("bad")).status, 404)
        self.assertTrue(await self.is_empty())
        path = self.path("bad", "/_matrix/client/v1/media/thumbnail")
        answer = await self.get(path + "?width=96&height=96")
        self.assertEqual(answer.status, 404)
        self.reply_file(b"fine")
        self.assertEqual((await self.fetch("good")).body, b"fine")


class PreviewTests(PreviewCase):
    async def setUp(self) -> None:
        type(self).config = {"plugins": plugin()}
        await super().setUp()

    async def test_pictures_of_previews_are_looked_at(self) -> None:
        """A preview without its picture is a preview all the same."""
        self.paths["/"] = page(
            "<title>A page</title><meta property='og:image' content='/a.png'>"
        )
        self.paths["/a.png"] = picture(bad_picture())
        shown = await self.shown(self.url("/"))
        self.assertEqual(shown["og:title"], "A page")
        self.assertNotIn("og:image", shown)
        self.assertEqual(self.files(), [])
        self.paths["/other"] = page(
            "<title>A page</title><meta property='og:image' content='/b.png'>"
        )
        self.paths["/b.png"] = picture()
        self.assertIn("og:image", await self.shown(self.url("/other")))
