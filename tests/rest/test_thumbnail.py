"""Thumbnails over HTTP, on both engines (mmr-http-api.md §6)."""

from __future__ import annotations

import io
from typing import ClassVar

from PIL import Image

from twisted.internet.defer import Deferred, gatherResults

from tests.harness import HOST, Answer, ServerCase, jpeg, png


def size_of(answer: Answer) -> tuple[int, int]:
    """Width and height of the picture that came."""
    assert answer.status == 200, answer
    return Image.open(io.BytesIO(answer.body)).size


class ThumbnailCases(ServerCase):
    __test__: ClassVar[bool] = False

    @property
    def renders(self) -> int:
        return self.server.thumbnail_pool.jobs_started

    async def test_a_thumbnail_is_rendered_stored_and_found_again(self) -> None:
        media_id = await self.upload(jpeg(1000, 800), "image/jpeg")
        first = await self.thumbnail(media_id, "width=320&height=240&method=scale")
        self.assertEqual(size_of(first), (300, 240))
        self.assertEqual(first.headers["content-type"], "image/jpeg")
        self.assertEqual(
            first.headers["content-disposition"], "inline; filename=thumbnail.jpg"
        )
        jobs = self.renders
        await self.stop_server()
        await self.start_server()
        again = await self.thumbnail(media_id, "width=320&height=240&method=scale")
        self.assertEqual(again.body, first.body)
        self.assertEqual(again.headers["etag"], first.headers["etag"])
        self.assertEqual(self.renders, 0)
        self.assertGreater(jobs, 0)
        self.assertEqual(await self.count("thumbnails"), 1)

    async def test_a_thumbnail_is_no_media_of_its_own(self) -> None:
        """D43."""
        media_id = await self.upload(png(300, 300))
        await self.thumbnail(media_id)
        self.assertEqual(await self.count("media"), 1)
        self.assertEqual(len(self.files()), 2)
        self.assertEqual(await self.count("mmr_object_intents"), 0)

    async def test_many_requests_at_once_share_one_render(self) -> None:
        """R101, D70."""
        media_id = await self.upload(png(300, 300))
        requests = [Deferred.fromCoroutine(self.thumbnail(media_id)) for _ in range(10)]
        answers = await gatherResults(requests)
        self.assertEqual({answer.status for answer in answers}, {200})
        self.assertEqual(len({answer.body for answer in answers}), 1)
        alone = self.renders
        await self.upload(other := png(301, 301))
        self.assertEqual(await self.count("thumbnails"), 1)
        await self.thumbnail(await self.upload(other))
        self.assertEqual(self.renders - alone, alone)

    async def test_sizes_and_methods(self) -> None:
        """§6.2, spec §5.2."""
        media_id = await self.upload(png(1000, 500))
        for query, expected in (
            ("width=96&height=96", (96, 48)),
            ("width=96&height=96&method=scale", (96, 48)),
            ("width=96&height=96&method=crop", (96, 96)),
            ("width=33&height=33&method=crop", (96, 96)),
            ("width=9999&height=9999&method=scale", (800, 400)),
            ("width=100000000000&height=1", (800, 400)),
        ):
            answer = await self.thumbnail(media_id, query)
            self.assertEqual(size_of(answer), expected, query)

    async def test_a_small_picture_is_its_own_thumbnail(self) -> None:
        """Spec §5.2: never enlarged; nothing new is stored."""
        picture = png(40, 30)
        media_id = await self.upload(picture, filename="secret.png")
        for method in ("scale", "crop"):
            for _ in range(2):
                query = f"width=96&height=96&method={method}"
                answer = await self.thumbnail(media_id, query)
                self.assertEqual(answer.body, picture)
                self.assertEqual(answer.headers["content-type"], "image/png")
        self.assertEqual(len(self.files()), 1)

    async def test_the_rotation_counts(self) -> None:
        """D57: the box is for what a viewer shows."""
        out = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (800, 400)).save(out, "JPEG", exif=exif)
        media_id = await self.upload(out.getvalue(), "image/jpeg")
        answer = await self.thumbnail(media_id, "width=320&height=240")
        self.assertEqual(size_of(answer), (120, 240))

    async def test_every_path_serves_thumbnails(self) -> None:
        media_id = await self.upload(png(300, 300))
        expected = await self.thumbnail(media_id)
        for version in ("r0", "v1", "v3"):
            path = f"/_matrix/media/{version}/thumbnail/{HOST}/{media_id}"
            answer = await self.get(path + "?width=96&height=96")
            self.assertEqual(answer.body, expected.body)

    async def test_an_animation_gets_a_still(self) -> None:
        """Spec §5.3: also one that would fit as it is (D58)."""
        for side in (300, 40):
            frames = [Image.new("P", (side, side), color) for color in range(3)]
            out = io.BytesIO()
            frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
            media_id = await self.upload(out.getvalue(), "image/gif")
            answer = await self.thumbnail(media_id, "width=96&height=96&animated=false")
            image = Image.open(io.BytesIO(answer.body))
            self.assertEqual(getattr(image, "n_frames", 1), 1)

    async def test_deleting_the_media_forgets_its_thumbnails(self) -> None:
        media_id = await self.upload(png(300, 300))
        await self.thumbnail(media_id)
        db, store = self.server.db, self.server.stores.media
        await db.interaction("delete", store.delete_media_txn, HOST, media_id)
        self.server.media_records.clear()
        self.assertEqual((await self.thumbnail(media_id)).status, 404)


class ThumbnailsOnSqlite(ThumbnailCases):
    __test__ = True


class ThumbnailsOnPostgres(ThumbnailCases):
    __test__ = True
    engine = "postgres"


class DynamicSizes(ServerCase):
    config = {"thumbnails": {"dynamicSizing": True}}

    async def test_any_size_up_to_the_largest(self) -> None:
        media_id = await self.upload(png(1000, 1000))
        for query, side in (
            ("width=50&height=50", 50),
            ("width=9000&height=9000", 600),
        ):
            answer = await self.thumbnail(media_id, query + "&method=scale")
            self.assertEqual(size_of(answer), (side, side))
