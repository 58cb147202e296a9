"""What clients get in the place of quarantined media (D9, D10)."""

from __future__ import annotations

import io
from typing import Any, ClassVar

from PIL import Image

from tests.harness import HOST, Answer, png
from tests.rest.admin.case import MEDIA, AdminCase
from tests.rest.remote_case import RemoteCase

_SIZE = "width=96&height=64&method=crop"
_PREFIXES = ("client/v1/media", "media/r0", "media/v1", "media/v3")


def downloads(media_id: str) -> list[str]:
    return [f"/_matrix/{each}/download/{HOST}/{media_id}" for each in _PREFIXES]


def thumbnails(media_id: str) -> list[str]:
    return [
        f"/_matrix/{each}/thumbnail/{HOST}/{media_id}?{_SIZE}" for each in _PREFIXES
    ]


class ReplacementCase(AdminCase):
    """Both are replaced; a bucket is charged, as with the default (D10)."""

    config: ClassVar[dict[str, Any]] = {
        "quarantine": {"replaceThumbnails": True, "replaceDownloads": True},
        "rateLimit": {"enabled": True, "requestsPerSecond": 1000, "burst": 1000},
        "thumbnails": {"sizes": [{"width": 96, "height": 64}]},
    }

    async def quarantined(self, data: bytes, content_type: str = "image/png") -> str:
        """Media that was asked for in every way before."""
        media_id = await self.upload(data, content_type)
        for path in downloads(media_id) + thumbnails(media_id):
            await self.get(path)
        answer = await self.post(f"quarantine/{HOST}/{media_id}")
        self.assertEqual(answer.json["num_quarantined"], 1)
        return media_id

    async def exactly(self, method: str, path: str, *lines: str) -> Answer:
        """The answer to a request, its length as the head says."""
        wire = await self.wire()
        wire.send(self.head(method, path, *lines))
        return await wire.answer(method)

    def check_picture(self, answer: Answer, size: tuple[int, int]) -> Image.Image:
        self.assertEqual(answer.headers["content-type"], "image/png")
        self.assertEqual(int(answer.headers["content-length"]), len(answer.body))
        self.assertIn("not_allowed.png", answer.headers["content-disposition"])
        self.assertEqual(answer.headers["cache-control"], "no-store")
        picture = Image.open(io.BytesIO(answer.body))
        picture.load()
        self.assertEqual(picture.size, size)
        return picture


class ReplacementTests(ReplacementCase):
    async def test_a_picture_of_its_own_type_and_length(self) -> None:
        """Whatever the media was."""
        for data, content_type in (
            (b"secret" * 100, "text/plain"),
            (png(), "image/png"),
        ):
            media_id = await self.quarantined(data, content_type)
            for path in downloads(media_id):
                answer = await self.exactly("GET", path)
                self.assertEqual(answer.status, 200, path)
                self.check_picture(answer, (512, 512))
                self.assertNotIn("etag", answer.headers)
            for path in thumbnails(media_id):
                answer = await self.exactly("GET", path)
                self.assertEqual(answer.status, 200, path)
                self.check_picture(answer, (96, 64))

    async def test_head_and_ranges_are_of_the_picture(self) -> None:
        media_id = await self.quarantined(png())
        whole = await self.exactly("GET", downloads(media_id)[0])
        for path in downloads(media_id):
            head = await self.exactly("HEAD", path)
            self.assertEqual(head.headers["content-type"], "image/png")
            self.assertEqual(
                head.headers["content-length"], whole.headers["content-length"]
            )
            part = await self.exactly("GET", path, "Range: bytes=1-3")
            self.assertEqual((part.status, part.body), (206, b"PNG"))

    async def test_what_the_client_already_has_is_not_confirmed(self) -> None:
        media_id = await self.upload(png())
        etag = (await self.download(media_id)).headers["etag"]
        await self.post(f"quarantine/{HOST}/{media_id}")
        answer = await self.exactly(
            "GET", downloads(media_id)[0], f"If-None-Match: {etag}"
        )
        self.assertEqual(answer.status, 200)
        self.check_picture(answer, (512, 512))

    async def test_there_is_no_information_about_it(self) -> None:
        media_id = await self.quarantined(png())
        answer = await self.get(f"{MEDIA}/info/{HOST}/{media_id}")
        self.assertEqual(answer.status, 404)


class OwnPictureTests(ReplacementCase):
    def write_config(self, cs_api: str) -> None:
        self.picture = self.folder / "own.png"
        self.picture.write_bytes(png(600, 600, "blue"))
        self.config = {
            **ReplacementCase.config,
            "quarantine": {
                "replaceDownloads": True,
                "thumbnailPath": str(self.picture),
            },
        }
        super().write_config(cs_api)

    async def test_the_operators_picture_is_shown(self) -> None:
        media_id = await self.quarantined(b"secret", "text/plain")
        for path, size in (
            (downloads(media_id)[0], (512, 512)),
            (thumbnails(media_id)[0], (96, 64)),
        ):
            picture = self.check_picture(await self.exactly("GET", path), size)
            middle = (size[0] // 2, size[1] // 2)
            self.assertEqual(picture.convert("RGB").getpixel(middle), (0, 0, 255))

    async def test_one_that_cannot_be_read_is_left_out_and_named(self) -> None:
        self.picture.write_bytes(b"no picture")
        media_id = await self.quarantined(b"secret", "text/plain")
        with self.assertLogs("mmr.media.placeholder", "ERROR") as logs:
            answer = await self.exactly("GET", downloads(media_id)[0])
        self.check_picture(answer, (512, 512))
        self.assertIn("quarantine.thumbnailPath", logs.output[0])


class FederationTests(RemoteCase):
    config: ClassVar[dict[str, Any]] = {"quarantine": {"replaceDownloads": True}}

    async def test_other_servers_get_the_picture_in_the_envelope(self) -> None:
        media_id = await self.upload(b"secret" * 50, "text/plain")
        await self.quarantine(media_id)
        for path in (
            f"/_matrix/federation/v1/media/download/{media_id}",
            f"/_matrix/federation/v1/media/thumbnail/{media_id}?{_SIZE}",
        ):
            answer = await self.ask_us(path)
            self.assertEqual(answer.status, 200, path)
            self.assertTrue(answer.headers["content-type"].startswith("multipart/"))
            self.assertIn(b"Content-Type: image/png", answer.body)
            self.assertIn(b"\x89PNG", answer.body)
            self.assertNotIn(b"secret", answer.body)
