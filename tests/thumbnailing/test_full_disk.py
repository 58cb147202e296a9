"""Workers whose disk is full: no fault of the source, and soon over (R97)."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred

from mmr.thumbnailing.model import RenderOptions
from mmr.thumbnailing.process import WORKER_COMMAND
from mmr.thumbnailing.sizes import TargetSize
from mmr.types import Method

from tests.small_disk import mount_small_disk
from tests.thumbnailing.images import encoded, photo
from tests.thumbnailing.media_files import ALL, video
from tests.thumbnailing.test_pool import PoolTestCase

LARGE = TargetSize(800, 600, Method.SCALE)
STILLS = RenderOptions()


class FullDiskTests(PoolTestCase):
    command = WORKER_COMMAND

    def setUp(self) -> None:
        super().setUp()
        mount_small_disk(self, self.temp, megabytes=8)

    def fill(self, left: int = 0) -> Path:
        """Take all room but so many bytes."""
        filler = self.temp / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)) == 4096:
                    pass
            except OSError:
                file.truncate(max(0, file.tell() - left))
        return filler

    async def check(
        self, data: bytes, content_type: str, options: RenderOptions, left: int
    ) -> None:
        source = self.file("source", data)

        def render(target: TargetSize, key: str) -> Deferred[object]:
            work = self.pool.render(source, content_type, target, options, key=key)
            return Deferred.fromCoroutine(work)

        # A worker is there already; what it has made before is of no help.
        await render(TargetSize(8, 8, Method.CROP), "before")
        filler = self.fill(left)
        with self.assertLogs("mmr.thumbnailing.process", "ERROR") as logs:
            self.assertEqual(await self.failed_with(render(LARGE, "now")), 503)
        self.assertIn(str(self.temp), logs.output[0])
        filler.unlink()
        self.assertEqual((await render(LARGE, "now")).width, 800)  # type: ignore[attr-defined]
        self.assertEqual(self.workers("Z"), [])

    async def test_no_room_for_the_result(self) -> None:
        data = encoded(photo(1000, 750), "JPEG", quality=90)
        await self.check(data, "image/jpeg", STILLS, left=0)

    async def test_no_room_for_the_source_of_a_program(self) -> None:
        film = video("mp4", "-s", "1600x900")
        await self.check(film, "video/mp4", ALL, left=0)

    async def test_no_room_for_what_a_program_prints(self) -> None:
        film = video("mp4", "-s", "1600x900")
        await self.check(film, "video/mp4", ALL, left=len(film) + 40_000)
