"""Thumbnails that can't be had: always a 4xx, never stored (D7, issue 2)."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

from twisted.internet.defer import Deferred

from tests.harness import ServerCase, jpeg, png

MAX_BYTES = 100_000


def huge_png(width: int, height: int) -> bytes:
    """A few bytes that claim to be a giant picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


class ThumbnailRefusals(ServerCase):
    config = {
        "thumbnails": {
            "maxSourceBytes": MAX_BYTES,
            "maxPixels": 1_000_000,
            "types": ["image/png", "image/jpeg"],
        }
    }

    async def refused(self, data: bytes, content_type: str, status: int) -> str:
        """Try twice: the second answer comes from memory and is the same."""
        media_id = await self.upload(data, content_type)
        for _ in range(2):
            answer = await self.thumbnail(media_id)
            self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(await self.count("thumbnails"), 0)
        self.assertEqual(await self.count("mmr_object_intents"), 0)
        self.assertEqual((await self.download(media_id)).body, data)
        return str(answer.json["errcode"])

    async def test_bad_parameters_are_400(self) -> None:
        """§6.1, R67."""
        media_id = await self.upload(png())
        for query in (
            "",
            "width=96",
            "height=96",
            "width=&height=96",
            "width=a&height=96",
            "width=0&height=96",
            "width=96&height=-1",
            "width=1.5&height=96",
            "width=%2B96&height=96",
            "width=%EF%BC%91&height=96",
            "width=" + "9" * 21 + "&height=96",
            "width=96&height=96&method=squash",
            "width=96&height=96&method=CROP",
            "width=96&height=96&animated=perhaps",
            "width=96&height=96&timeout_ms=soon",
            "width=96&height=96&allow_remote=x",
        ):
            answer = await self.thumbnail(media_id, query)
            self.assertEqual(answer.status, 400, query)
            self.assertTrue(answer.json["errcode"].startswith("M_"))
        self.assertEqual(self.server.thumbnail_pool.jobs_started, 0)

    async def test_types_without_thumbnails_are_400(self) -> None:
        """Unsupported, and supported but not configured."""
        gif = io.BytesIO()
        Image.new("P", (300, 300)).save(gif, "GIF")
        for data, content_type in (
            (b"some text", "text/plain"),
            (b"<svg/>", "image/svg+xml"),
            (gif.getvalue(), "image/gif"),
            (b"\0" * 100, "application/octet-stream"),
        ):
            errcode = await self.refused(data, content_type, 400)
            self.assertEqual(errcode, "M_UNKNOWN")

    async def test_too_many_pixels_are_413(self) -> None:
        """R30: judged by the header, before decoding."""
        for data in (png(1000, 1000), huge_png(30_000, 30_000)):
            self.assertEqual(await self.refused(data, "image/png", 413), "M_TOO_LARGE")

    async def test_too_many_bytes_are_413(self) -> None:
        """D27."""
        picture = png(300, 300)
        data = picture + b"\0" * (MAX_BYTES + 1 - len(picture))
        self.assertEqual(await self.refused(data, "image/png", 413), "M_TOO_LARGE")
        self.assertEqual(self.server.thumbnail_pool.jobs_started, 0)

    async def test_broken_pictures_are_400(self) -> None:
        noise = Image.effect_noise((300, 300), 50)
        out = io.BytesIO()
        noise.save(out, "PNG")
        whole = out.getvalue()
        for data in (whole[: len(whole) // 2], whole[:20], b"\x89PNG\r\n\x1a\n", b""):
            await self.refused(data, "image/png", 400)

    async def test_what_is_not_of_its_type_is_400(self) -> None:
        """R28."""
        for data in (b"%PDF-1.4 and so on", b"<svg/>", b"RIFF\x10\0\0\0WAVEfmt "):
            await self.refused(data, "image/png", 400)

    async def test_one_picture_under_anothers_label_is_drawn_as_what_it_is(
        self,
    ) -> None:
        """R28: the bytes pick the decoder, and the answer says the truth."""
        media_id = await self.upload(jpeg(300, 300), "image/png")
        answer = await self.thumbnail(media_id)
        self.assertEqual(answer.headers["content-type"], "image/jpeg")

    async def test_unknown_media_is_404(self) -> None:
        self.assertEqual((await self.thumbnail("unknown")).status, 404)

    async def test_a_missing_original_is_404(self) -> None:
        media_id = await self.upload(png(300, 300))
        (await self.path_of(media_id)).unlink()
        self.assertEqual((await self.thumbnail(media_id)).status, 404)

    async def test_a_damaged_original_is_500(self) -> None:
        """R102."""
        media_id = await self.upload(png(300, 300))
        path = await self.path_of(media_id)
        path.write_bytes(path.read_bytes()[:-1])
        self.assertEqual((await self.thumbnail(media_id)).status, 500)

    async def test_what_is_quarantined_while_it_renders_is_not_kept(self) -> None:
        """R85."""
        await self.quarantine_within(png(300, 300))

    async def test_nor_what_is_its_own_thumbnail(self) -> None:
        """R85."""
        await self.quarantine_within(png(20, 20))

    async def quarantine_within(self, data: bytes) -> None:
        media_id = await self.upload(data)
        pool = self.server.thumbnail_pool
        held: Deferred[None] = Deferred()
        probe = pool.probe

        async def slow_probe(*args, **kwargs):  # type: ignore[no-untyped-def]
            found = await probe(*args, **kwargs)
            await held
            return found

        self.patch(pool, "probe", slow_probe)
        request = Deferred.fromCoroutine(self.thumbnail(media_id))
        await self.eventually(lambda: pool.jobs_started > 0)
        await self.quarantine(media_id)
        held.callback(None)
        self.assertEqual((await request).status, 404)
        self.assertEqual(await self.count("thumbnails"), 0)
        await self.server.sweep.delete_queued()
        self.assertEqual(len(self.files()), 1)

    async def test_a_client_that_leaves_harms_nobody(self) -> None:
        """R66: a render that others wait for goes on."""
        media_id = await self.upload(png(300, 300))
        wire = await self.wire()
        path = "/_matrix/client/v1/media/thumbnail/media.example/"
        wire.send(self.head("GET", f"{path}{media_id}?width=96&height=96"))
        other = Deferred.fromCoroutine(self.thumbnail(media_id))
        await self.eventually(lambda: self.server.thumbnail_pool.jobs_started > 0)
        wire.abort()
        self.assertEqual((await other).status, 200)
