"""Previews that are too old go with their pictures: rows, objects, caches."""

from __future__ import annotations

from mmr.media.preview_expiry import PreviewExpiry
from mmr.storage.previews import HOUR_MS, PreviewKey, PreviewRecord, bucket_of

from tests.harness import ServerCase
from tests.rest.preview_case import PAGE, PreviewCase, page, picture

_DAY_MS = 24 * HOUR_MS


class Expiry(PreviewCase):
    previews = {"expireAfterDays": 2}

    async def setUp(self) -> None:
        await super().setUp()
        self.paths = {"/": page(PAGE), "/sea.png": picture(), "/plain": page("text")}

    def later(self, ms: int) -> None:
        """Let time pass, for the wall clock."""
        then = self.server.clock.time_ms() + ms
        self.patch(self.server.clock, "time_ms", lambda: then)

    async def test_an_old_preview_goes_with_picture_thumbnail_and_object(self) -> None:
        shown = await self.shown(self.url())
        await self.shown(self.url("/plain"))
        media_id = shown["og:image"].rpartition("/")[2]
        self.assertEqual((await self.download(media_id)).status, 200)
        await self.thumbnail(media_id, "width=32&height=32")
        self.later(_DAY_MS)
        self.assertEqual(await self.server.preview_expiry.expire(), 0)
        self.later(2 * _DAY_MS)
        self.assertEqual(await self.server.preview_expiry.expire(), 2)
        for table in (
            "mmr_url_previews", "media", "thumbnails", "restricted_media",
        ):  # fmt: skip
            self.assertEqual(await self.count(table), 0, table)
        # At once, though its record was warm.
        self.assertEqual((await self.download(media_id)).status, 404)
        await self.server.sweep.delete_queued()
        self.assertEqual(self.files(), [])

    async def test_the_upload_of_the_same_picture_keeps_its_content(self) -> None:
        await self.shown(self.url())
        media_id = await self.upload(picture().body)
        self.assertEqual(len(self.files()), 1)
        self.later(4 * _DAY_MS)
        self.assertEqual(await self.server.preview_expiry.expire(), 1)
        await self.server.sweep.delete_queued()
        self.assertEqual((await self.download(media_id)).body, picture().body)

    async def test_it_runs_by_itself(self) -> None:
        names = [job.name for job in self.server.recurring._jobs]
        self.assertIn("submit_expiry", names)


class Forever(PreviewCase):
    async def test_by_default_nothing_goes(self) -> None:
        self.paths = {"/": page(PAGE)}
        await self.shown(self.url())
        then = self.server.clock.time_ms() + 10_000 * _DAY_MS
        self.patch(self.server.clock, "time_ms", lambda: then)
        self.assertEqual(await self.server.preview_expiry.expire(), 0)
        self.assertEqual(await self.count("mmr_url_previews"), 1)


class JumpingClock(ServerCase):
    async def test_a_clock_that_jumps_ahead_removes_nothing_for_a_day(self) -> None:
        """R100."""
        server, clock = self.server, self.server.clock
        now, monotonic = clock.time_ms(), 0.0
        self.patch(clock, "time_ms", lambda: now)
        self.patch(clock, "monotonic", lambda: monotonic)
        expiry = PreviewExpiry(
            server.stores.previews, server.media_records, clock, lambda: 30
        )

        def fill(txn: object) -> None:
            for number in range(1001):
                key = PreviewKey("media.example", f"http://{number}/", "en")
                server.stores.previews.insert_preview_txn(
                    txn,  # type: ignore[arg-type]
                    key,
                    bucket_of(now),
                    PreviewRecord("", "", "", "", ""),
                )

        await server.db.interaction("fill", fill)
        now += 365 * _DAY_MS
        self.assertEqual(await expiry.expire(), 0)
        monotonic += 3600
        self.assertEqual(await expiry.expire(), 0)
        monotonic += 24 * 3600
        self.assertEqual(await expiry.expire(), 1001)
