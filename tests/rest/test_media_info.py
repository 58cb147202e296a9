"""What a server tells of media of every family, and blurhashes at upload."""

from __future__ import annotations

import io
from typing import Any, ClassVar

from PIL import Image

from mmr.storage.blurhashes import BlurhashStore

from tests.harness import HOST, Answer, ServerCase, jpeg, png
from tests.thumbnailing.images import samples
from tests.thumbnailing.media_files import TYPES, audio, video

_BLURHASH = "xyz.amorgan.blurhash"


class MediaInfoTests(ServerCase):
    config: ClassVar[dict[str, Any]] = {
        "thumbnails": {"types": [*samples(), *TYPES.values()]}
    }

    async def info(self, media_id: str) -> dict[str, Any]:
        answer = await self.get(f"/_matrix/media/unstable/info/{HOST}/{media_id}")
        self.assertEqual(answer.status, 200, answer)
        found: dict[str, Any] = answer.json
        return found

    async def test_audio_tells_how_it_sounds(self) -> None:
        found = await self.info(await self.upload(audio("ogg"), "audio/ogg"))
        self.assertAlmostEqual(found["duration"], 3.0, delta=0.2)
        self.assertEqual(found["num_channels"], 2)
        self.assertAlmostEqual(found["num_total_samples"], 3 * 44100, delta=5000)
        self.assertGreater(len(found["key_samples"]), 100)
        self.assertEqual(len(found["key_samples"][0]), 2)
        self.assertNotIn("width", found)

    async def test_video_tells_its_size_and_duration(self) -> None:
        found = await self.info(await self.upload(video("mp4"), "video/mp4"))
        self.assertEqual((found["width"], found["height"]), (640, 360))
        self.assertAlmostEqual(found["duration"], 4.0, delta=0.2)

    async def test_pictures_of_every_format_tell_their_size(self) -> None:
        for content_type, data in samples().items():
            found = await self.info(await self.upload(data, content_type))
            self.assertEqual((found["width"], found["height"]), (160, 120))
        # A label is read as it is elsewhere.
        found = await self.info(await self.upload(png(30, 20), "IMAGE/PNG; a=b"))
        self.assertEqual((found["width"], found["height"]), (30, 20))

    async def test_drawings_and_documents_tell_the_size_that_they_are_drawn_in(
        self,
    ) -> None:
        drawing = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="32"/>'
        found = await self.info(await self.upload(drawing, "image/svg+xml"))
        self.assertEqual((found["width"], found["height"]), (64, 32))
        page = io.BytesIO()
        Image.new("RGB", (300, 400)).save(page, "PDF")
        found = await self.info(await self.upload(page.getvalue(), "application/pdf"))
        self.assertEqual((found["width"], found["height"]), (1536, 2048))

    async def test_a_file_that_fails_tells_what_is_known_without_it(self) -> None:
        for data, content_type in (
            (b"OggS" + bytes(100), "audio/ogg"),
            (video("mp4")[:100], "video/mp4"),
            (b"#EXTM3U", "video/mp4"),
        ):
            found = await self.info(await self.upload(data, content_type))
            self.assertEqual(
                set(found), {"content_uri", "content_type", "size", "hashes"}
            )

    async def test_a_small_video_is_not_its_own_thumbnail(self) -> None:
        media_id = await self.upload(video("mp4"), "video/mp4")
        answer = await self.thumbnail(media_id, "width=800&height=600&method=scale")
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.headers["content-type"], "image/jpeg")

    async def test_audio_has_a_thumbnail(self) -> None:
        """D42."""
        media_id = await self.upload(audio("mp3"), "audio/mpeg")
        answer = await self.thumbnail(media_id, "width=320&height=240")
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.headers["content-type"], "image/png")


class BlurhashTests(ServerCase):
    config: ClassVar[dict[str, Any]] = {
        "featureSupport": {"MSC2448": {"enabled": True}},
        "thumbnails": {"types": ["image/png", "image/jpeg"]},
    }

    async def send(
        self, data: bytes, content_type: str = "image/png", query: str = "true"
    ) -> Answer:
        answer = await self.request(
            "POST",
            f"/_matrix/media/v3/upload?xyz.amorgan.generate_blurhash={query}",
            body=data,
            headers={"Content-Type": content_type},
        )
        self.assertEqual(answer.status, 200, answer)
        self.assertIn("content_uri", answer.json)
        return answer

    async def test_an_upload_gets_one_when_it_asks(self) -> None:
        answer = await self.send(jpeg(300, 200), "image/jpeg")
        self.assertEqual(len(answer.json[_BLURHASH]), 28)
        for query in ("false", "", "1"):
            self.assertNotIn(_BLURHASH, (await self.send(png(), query=query)).json)

    async def test_it_is_made_once_for_the_same_content(self) -> None:
        first = await self.send(png(80, 60))
        jobs = self.server.thumbnail_pool.jobs_started
        again = await self.send(png(80, 60))
        self.assertEqual(again.json[_BLURHASH], first.json[_BLURHASH])
        self.assertEqual(self.server.thumbnail_pool.jobs_started, jobs)
        media_id = first.json["content_uri"].rpartition("/")[2]
        record = await self.record(media_id)
        stored = await BlurhashStore(self.server.db).get_blurhash(record.sha256_hash)
        self.assertEqual(stored, first.json[_BLURHASH])

    async def test_an_upload_succeeds_without(self) -> None:
        for data, content_type in (
            (b"no picture", "image/png"),
            (png()[:-20], "image/png"),
            (b"text", "text/plain"),
        ):
            answer = await self.send(data, content_type)
            self.assertNotIn(_BLURHASH, answer.json)


class NoBlurhashTests(ServerCase):
    async def test_it_is_off_by_default(self) -> None:
        answer = await self.request(
            "POST",
            "/_matrix/media/v3/upload?xyz.amorgan.generate_blurhash=true",
            body=png(),
            headers={"Content-Type": "image/png"},
        )
        self.assertEqual(set(answer.json), {"content_uri"})
