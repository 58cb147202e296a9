"""Animated thumbnails and WebP over HTTP (mmr-http-api.md §6, matrix-media-spec §5)."""

from __future__ import annotations

import io

from PIL import Image

from mmr.rest.thumbnail import accepts_webp
from mmr.thumbnailing.model import MAX_FRAMES

from tests.harness import HOST, Answer, ServerCase, jpeg, png
from tests.thumbnailing.animated_files import BOMBS, FORMATS, moving

BOX = "width=96&height=96&method=scale"
ALL_TYPES = ["image/jpeg", "image/png", "image/gif", "image/webp", "image/tiff"]


def frames_of(answer: Answer) -> int:
    """How many frames came; the bytes must be what the header says."""
    assert answer.status == 200, answer
    with Image.open(io.BytesIO(answer.body)) as image:
        assert Image.MIME[image.format] == answer.headers["content-type"]
        return getattr(image, "n_frames", 1)


class AnimatedCase(ServerCase):
    config = {"thumbnails": {"types": ALL_TYPES}}

    @property
    def renders(self) -> int:
        return self.server.thumbnail_pool.jobs_started

    async def upload_moving(self, format: str = "GIF", side: int = 240) -> str:
        data = moving(format, size=(side, side))
        return await self.upload(data, FORMATS[format])


class AnimatedByDefault(AnimatedCase):
    config = {"thumbnails": {"types": ALL_TYPES, "defaultAnimated": True}}

    async def test_what_is_not_said_means_animated(self) -> None:
        media_id = await self.upload_moving()

        self.assertEqual(frames_of(await self.thumbnail(media_id, BOX)), 6)
        still = await self.thumbnail(media_id, f"{BOX}&animated=false")
        self.assertEqual(frames_of(still), 1)


class AnimatedForbidden(AnimatedCase):
    config = {
        "thumbnails": {
            "types": ALL_TYPES,
            "allowAnimated": False,
            "defaultAnimated": True,
        }
    }

    async def test_the_operators_no_is_final(self) -> None:
        """D28, R31; also where the original itself would be the answer."""
        for side in (240, 60):
            media_id = await self.upload_moving(side=side)
            for query in ("", "&animated=true"):
                answer = await self.thumbnail(media_id, BOX + query)
                self.assertEqual(frames_of(answer), 1)


class AnimatedWhenAsked(AnimatedCase):
    async def test_each_format_stays_itself(self) -> None:
        for format, content_type in FORMATS.items():
            media_id = await self.upload_moving(format)
            answer = await self.thumbnail(media_id, f"{BOX}&animated=true")
            self.assertEqual(frames_of(answer), 6)
            self.assertEqual(answer.headers["content-type"], content_type)
            self.assertTrue(
                answer.headers["content-disposition"].startswith("inline; filename=")
            )

    async def test_what_is_not_said_means_still(self) -> None:
        media_id = await self.upload_moving()
        for query in ("", "&animated=false", "&animated="):
            answer = await self.thumbnail(media_id, BOX + query)
            self.assertEqual(frames_of(answer), 1)

    async def test_the_old_name_counts_where_the_new_one_is_empty(self) -> None:
        media_id = await self.upload_moving()
        old = "org.matrix.msc2705.animated"
        for query, frames in (
            (f"&{old}=true", 6),
            (f"&animated=&{old}=true", 6),
            (f"&animated=false&{old}=true", 1),
            (f"&animated=true&{old}=false", 6),
        ):
            answer = await self.thumbnail(media_id, BOX + query)
            self.assertEqual(frames_of(answer), frames, query)
        wrong = await self.thumbnail(media_id, f"{BOX}&{old}=perhaps")
        self.assertEqual(wrong.status, 400)

    async def test_still_and_moving_are_two_thumbnails(self) -> None:
        media_id = await self.upload_moving()
        for _ in range(2):
            moves = await self.thumbnail(media_id, f"{BOX}&animated=true")
            still = await self.thumbnail(media_id, f"{BOX}&animated=false")
            self.assertEqual((frames_of(moves), frames_of(still)), (6, 1))
        self.assertEqual(await self.count("thumbnails"), 2)

    async def test_a_small_original_moves_only_if_that_is_asked_for(self) -> None:
        """D58."""
        data = moving("GIF", size=(60, 60))
        media_id = await self.upload(data, "image/gif")

        still = await self.thumbnail(media_id, BOX)
        self.assertEqual(frames_of(still), 1)
        moves = await self.thumbnail(media_id, f"{BOX}&animated=true")
        self.assertEqual(moves.body, data)
        self.assertEqual(len(self.files()), 2)

    async def test_a_still_picture_is_not_drawn_twice(self) -> None:
        """§6.3: the row of the still is repeated, with its age."""
        media_id = await self.upload(png(300, 300))
        still = await self.thumbnail(media_id, BOX)
        drawn = self.renders
        first = await self.thumbnail(media_id, f"{BOX}&animated=true")
        self.assertEqual(first.body, still.body)
        # A look at the header is a job too, but draws nothing.
        self.assertEqual(self.renders, drawn + 1)
        again = await self.thumbnail(media_id, f"{BOX}&animated=true")
        self.assertEqual(again.body, still.body)
        self.assertEqual(self.renders, drawn + 1)
        self.assertEqual(len(self.files()), 2)
        rows = await self.server.stores.thumbnails.get_thumbnails_of(HOST, media_id)
        self.assertEqual({row.key.animated for row in rows}, {False, True})
        self.assertEqual(len({(row.location, row.creation_ts) for row in rows}), 1)

    async def test_motion_first_and_still_later_share_one_drawing_too(self) -> None:
        media_id = await self.upload(png(300, 300))
        moves = await self.thumbnail(media_id, f"{BOX}&animated=true")
        drawn = self.renders
        still = await self.thumbnail(media_id, BOX)
        self.assertEqual(still.body, moves.body)
        self.assertEqual(self.renders, drawn)
        self.assertEqual(await self.count("thumbnails"), 2)

    async def test_a_photo_needs_no_second_row(self) -> None:
        media_id = await self.upload(jpeg(300, 300), "image/jpeg")
        for query in ("", "&animated=true"):
            self.assertEqual((await self.thumbnail(media_id, BOX + query)).status, 200)
        self.assertEqual(await self.count("thumbnails"), 1)

    async def test_too_many_frames_give_the_still_picture(self) -> None:
        """R31."""
        for format, content_type in FORMATS.items():
            for side in (120, 40):
                data = BOMBS[format](MAX_FRAMES + 1, (side, side))
                media_id = await self.upload(data, content_type)
                answer = await self.thumbnail(media_id, f"{BOX}&animated=true")
                self.assertEqual(frames_of(answer), 1)

    async def test_formats_that_browsers_do_not_show_are_drawn_at_their_size(
        self,
    ) -> None:
        """§5.1: a thumbnail is JPEG, PNG, GIF or WebP, however small the original."""
        out = io.BytesIO()
        Image.new("RGB", (40, 30), "red").save(out, "TIFF")
        media_id = await self.upload(out.getvalue(), "image/tiff")
        answer = await self.thumbnail(media_id, BOX)
        self.assertEqual(answer.headers["content-type"], "image/jpeg")
        with Image.open(io.BytesIO(answer.body)) as image:
            self.assertEqual(image.size, (40, 30))

    async def test_webp_is_not_sent_unless_the_operator_wants_it(self) -> None:
        media_id = await self.upload(png(300, 300))
        answer = await self.thumbnail(media_id, BOX, headers={"Accept": "image/webp"})
        self.assertEqual(answer.headers["content-type"], "image/png")
        self.assertNotIn("vary", answer.headers)


class AnimatedUpToSomeSize(AnimatedCase):
    config = {"thumbnails": {"types": ALL_TYPES, "maxAnimateSizeBytes": 1000}}

    async def test_larger_originals_become_a_still_picture(self) -> None:
        media_id = await self.upload_moving()
        answer = await self.thumbnail(media_id, f"{BOX}&animated=true")
        self.assertEqual(frames_of(answer), 1)
        self.assertEqual(await self.count("thumbnails"), 1)


class AnimatedWithoutLimit(AnimatedCase):
    config = {"thumbnails": {"types": ALL_TYPES, "maxAnimateSizeBytes": 0}}

    async def test_zero_is_no_limit(self) -> None:
        media_id = await self.upload_moving()
        answer = await self.thumbnail(media_id, f"{BOX}&animated=true")
        self.assertEqual(frames_of(answer), 6)


class FirstFrame(AnimatedCase):
    config = {"thumbnails": {"types": ALL_TYPES, "stillFrame": 0}}

    async def test_the_operator_chooses_the_still_frame(self) -> None:
        media_id = await self.upload_moving()
        answer = await self.thumbnail(media_id, BOX)
        with Image.open(io.BytesIO(answer.body)) as image:
            left = image.convert("RGB").getpixel((5, 30))
        self.assertGreater(left[0], 200)  # where the square is at first


class WebPWanted(AnimatedCase):
    config = {"thumbnails": {"types": ALL_TYPES, "webp": True}}
    takes = {"Accept": "image/avif,image/webp;q=0.9,*/*"}

    async def test_those_who_take_it_get_it_and_others_do_not(self) -> None:
        media_id = await self.upload(png(300, 300))
        for _ in range(2):
            webp = await self.thumbnail(media_id, BOX, headers=self.takes)
            plain = await self.thumbnail(media_id, BOX, headers={"Accept": "*/*"})
            self.assertEqual(webp.headers["content-type"], "image/webp")
            self.assertEqual(plain.headers["content-type"], "image/png")
            for answer in (webp, plain):
                self.assertEqual(answer.headers["vary"], "Accept")
                frames_of(answer)
        self.assertEqual(await self.count("thumbnails"), 2)

    async def test_an_answer_without_a_body_varies_too(self) -> None:
        media_id = await self.upload(png(300, 300))
        first = await self.thumbnail(media_id, BOX)
        headers = {"If-None-Match": first.headers["etag"]}
        again = await self.thumbnail(media_id, BOX, headers=headers)
        self.assertEqual((again.status, again.headers["vary"]), (304, "Accept"))

    async def test_photos_stay_jpeg(self) -> None:
        media_id = await self.upload(jpeg(300, 300), "image/jpeg")
        answer = await self.thumbnail(media_id, BOX, headers=self.takes)
        self.assertEqual(answer.headers["content-type"], "image/jpeg")
        await self.thumbnail(media_id, BOX)
        self.assertEqual(await self.count("thumbnails"), 1)

    async def test_animations_become_webp(self) -> None:
        media_id = await self.upload_moving()
        query = f"{BOX}&animated=true"
        webp = await self.thumbnail(media_id, query, headers=self.takes)
        plain = await self.thumbnail(media_id, query)
        self.assertEqual((frames_of(webp), frames_of(plain)), (6, 6))
        self.assertEqual(webp.headers["content-type"], "image/webp")
        self.assertEqual(plain.headers["content-type"], "image/gif")

    async def test_what_is_webp_anyway_is_stored_once(self) -> None:
        media_id = await self.upload_moving("WEBP")
        query = f"{BOX}&animated=true"
        one = await self.thumbnail(media_id, query, headers=self.takes)
        other = await self.thumbnail(media_id, query)
        self.assertEqual(frames_of(one), 6)
        self.assertEqual(one.body, other.body)
        self.assertEqual(len(self.files()), 2)

    async def test_the_still_of_a_request_for_motion_is_webp_too(self) -> None:
        media_id = await self.upload(png(300, 300))
        query = f"{BOX}&animated=true"
        answer = await self.thumbnail(media_id, query, headers=self.takes)
        self.assertEqual(answer.headers["content-type"], "image/webp")
        again = await self.thumbnail(media_id, BOX, headers=self.takes)
        self.assertEqual(again.body, answer.body)
        self.assertEqual(len(self.files()), 2)

    def test_accept_is_read_as_it_is_written(self) -> None:
        for header, accepted in (
            (b"", False),
            (b"*/*", False),
            (b"image/*", False),
            (b"image/webp", True),
            (b"text/html, image/webp ; q=0.1", True),
            (b"image/webp;q=0", False),
            (b"image/webp; q=0.000,image/png", False),
            (b"image/webpx", False),
        ):
            self.assertEqual(accepts_webp(header), accepted, header)


class ManySizes(AnimatedCase):
    config = {"thumbnails": {"types": ALL_TYPES, "dynamicSizing": True}}

    async def test_a_bounded_number_of_sizes_is_kept(self) -> None:
        """R39."""
        media_id = await self.upload(png(300, 300))
        await self.thumbnail(media_id, BOX)
        for side in range(100, 150):
            answer = await self.thumbnail(media_id, f"width={side}&height={side}")
            with Image.open(io.BytesIO(answer.body)) as image:
                self.assertEqual(image.size, (side, side))
            self.assertLessEqual(await self.count("thumbnails"), 32)
        self.assertEqual(await self.count("thumbnails"), 32)
        store = self.server.stores.thumbnails
        kept = {row.key.width for row in await store.get_thumbnails_of(HOST, media_id)}
        # The operator's own sizes stay, and the newest of the others.
        self.assertEqual(kept, {96, *range(119, 150)})
        again = await self.thumbnail(media_id, "width=100&height=100")
        self.assertEqual(again.status, 200)

    async def test_crops_of_any_shape_are_bounded_too(self) -> None:
        """R39."""
        media_id = await self.upload(png(300, 300))
        for height in range(100, 140):
            query = f"width=200&height={height}&method=crop"
            self.assertEqual((await self.thumbnail(media_id, query)).status, 200)
        self.assertEqual(await self.count("thumbnails"), 32)


class WebPWantedOnPostgres(WebPWanted):
    engine = "postgres"
