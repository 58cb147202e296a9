"""Pages are read in confined processes, off the reactor."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import TestCase

from mmr.errors import MatrixError
from mmr.previews.model import (
    MAX_IMAGES,
    ImageCandidate,
    PageResult,
    Preview,
    PreviewOptions,
)
from mmr.previews.pool import LIMITS, WORKER_COMMAND, PreviewParser
from mmr.previews.text import MAX_CHARACTERS
from mmr.util.confined.limits import WorkerLimits

from tests.small_disk import mount_small_disk

HOSTILE_COMMAND = (sys.executable, "-m", "tests.previews.hostile_worker")
URL = "https://a.example/page"
OPTIONS = PreviewOptions()


class PoolTestCase(TestCase):
    """A pool, and pages to feed it."""

    def setUp(self) -> None:
        self.temp = Path(self.mktemp())
        self.temp.mkdir(parents=True)

    def make_pool(
        self,
        workers: int = 1,
        max_waiting: int = 10,
        limits: WorkerLimits = LIMITS,
        command: Sequence[str] = HOSTILE_COMMAND,
    ) -> PreviewParser:
        pool = PreviewParser(workers, max_waiting, reactor, self.temp, limits, command)
        self.addCleanup(lambda: Deferred.fromCoroutine(pool.stop()))
        return pool

    def parse(self, pool: PreviewParser, page: bytes) -> Deferred[PageResult]:
        return Deferred.fromCoroutine(pool.parse(page, "text/html", URL, OPTIONS))

    async def refused(self, work: Deferred[PageResult]) -> int:
        try:
            await work
        except MatrixError as error:
            return error.status
        self.fail("it was not refused")


class FullDisk(PoolTestCase):
    async def test_a_page_that_there_is_no_room_for_is_not_read_in_part(self) -> None:
        """R97."""
        mount_small_disk(self, self.temp, megabytes=1)
        pool = self.make_pool(command=WORKER_COMMAND)
        page = b"<title>A title</title>" + b" " * 600_000 + b"<h1>More</h1>"
        await self.parse(pool, page)
        filler = self.temp / "filler"
        filler.write_bytes(bytes(700_000))
        with self.assertLogs("mmr.previews.pool", "ERROR") as logs:
            self.assertEqual(await self.refused(self.parse(pool, page)), 503)
        self.assertIn(str(self.temp), logs.output[0])
        filler.unlink()
        await self.parse(pool, page)


class HonestPages(PoolTestCase):
    async def test_a_page_is_read(self) -> None:
        pool = self.make_pool(command=WORKER_COMMAND)
        html = "<title>Zażółć</title><img src=/i.png width=20 height=30>"

        result = await pool.parse(
            html.encode("iso8859-2"), "text/html; charset=latin2", URL, OPTIONS
        )

        self.assertEqual(
            result,
            PageResult(
                Preview(
                    URL,
                    title="Zażółć",
                    images=(ImageCandidate("https://a.example/i.png", 20, 30),),
                )
            ),
        )

    async def test_rare_encodings_are_at_hand_under_confinement(self) -> None:
        """R35: nothing is loaded that couldn't be found any more."""
        pool = self.make_pool(command=WORKER_COMMAND)
        for label, codec in (("big5", "big5hkscs"), ("euc-kr", "cp949")):
            page = "<title>日</title>".encode(codec)
            header = f"text/html; charset={label}"
            result = await pool.parse(page, header, URL, OPTIONS)
            self.assertEqual(result.preview.title, "日")

    async def test_an_oembed_answer_is_read(self) -> None:
        pool = self.make_pool(command=WORKER_COMMAND)
        answer = b'{"type": "rich", "html": "<p>Hello<script>x</script>"}'

        preview = await pool.parse_oembed(answer, URL, "Provider", OPTIONS)

        expected = Preview(URL, "Provider", "rich", description="Hello")
        self.assertEqual(preview, expected)
        self.assertIsNone(await pool.parse_oembed(b"<xml>", URL, "", OPTIONS))

    async def test_the_reactor_goes_on_while_ten_megabytes_are_read(self) -> None:
        """R23: open tags, attributes, comments and entities."""
        pool = self.make_pool(command=WORKER_COMMAND)
        await self.parse(pool, b"warm up")
        longest = 0.0
        last = time.monotonic()

        def tick() -> None:
            nonlocal longest, last
            now = time.monotonic()
            longest, last = max(longest, now - last), now

        # A collection of what all tests before have left would be a pause as well.
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        ticking = LoopingCall(tick)
        ticking.start(0.01)
        self.addCleanup(ticking.stop)
        for seed in (b"<div>", b"<a b='1' c=", b"<!-- -->", b"&amp;", b"<p>x</p>"):
            page = b"<title>t</title>" + seed * (10_000_000 // len(seed))
            last = time.monotonic()
            result = await self.parse(pool, page)
            self.assertEqual(result.preview.title, "t")
        # Each page keeps the worker busy for a second or so.
        self.assertLess(longest, 0.5)

    async def test_a_million_nested_tags_are_read(self) -> None:
        """R24."""
        pool = self.make_pool(command=WORKER_COMMAND)

        result = await self.parse(pool, b"<title>t</title>" + b"<b>" * 1_000_000)

        self.assertEqual(result.preview.title, "t")

    async def test_several_pages_are_read_at_once_and_more_wait(self) -> None:
        pool = self.make_pool(workers=2, command=WORKER_COMMAND)
        pages = [f"<title>{number}</title>".encode() for number in range(8)]

        results = await gatherResults([self.parse(pool, page) for page in pages])

        titles = [result.preview.title for result in results]
        self.assertEqual(titles, [str(number) for number in range(8)])


class HostilePages(PoolTestCase):
    async def assert_costs_one_preview(
        self, order: str, limits: WorkerLimits = LIMITS
    ) -> None:
        pool = self.make_pool(limits=limits)
        lost = await self.parse(pool, b"!" + order.encode())
        self.assertEqual(lost, PageResult(Preview(URL)))
        well = await self.parse(pool, b"<title>t</title>")
        self.assertEqual(well.preview.title, "t")

    async def test_a_crash(self) -> None:
        """R23, as all of these."""
        await self.assert_costs_one_preview("segfault")

    async def test_a_bug(self) -> None:
        await self.assert_costs_one_preview("raise")

    async def test_endless_work(self) -> None:
        await self.assert_costs_one_preview("spin", attrs.evolve(LIMITS, cpu_seconds=1))

    async def test_endless_waiting(self) -> None:
        limits = attrs.evolve(LIMITS, wall_seconds=1.5)
        await self.assert_costs_one_preview("hang", limits)

    async def test_too_much_memory(self) -> None:
        await self.assert_costs_one_preview("allocate")

    async def test_an_answer_with_another_scheme(self) -> None:
        """R27."""
        await self.assert_costs_one_preview("scheme")

    async def test_an_answer_of_another_shape(self) -> None:
        await self.assert_costs_one_preview("type")

    async def test_a_false_answer_is_made_safe(self) -> None:
        """R27: the worker may have been taken over."""
        preview = (await self.parse(self.make_pool(), b"!lie")).preview

        self.assertEqual(preview.title, "x" * (MAX_CHARACTERS - 3) + "...")
        image = ImageCandidate("https://i.example/")
        self.assertEqual(preview.images, (image,) * MAX_IMAGES)

    async def test_the_worker_is_confined(self) -> None:
        """R35; what the kernel offers is tested with the thumbnails."""
        self.patch(os, "environ", {**os.environ, "MMR_TEST_SECRET": "hunter2"})
        pool = self.make_pool()

        written = (await self.parse(pool, b"!write")).preview.title
        environment = (await self.parse(pool, b"!environment")).preview.title

        self.assertEqual(written, "refused: File too large")
        self.assertIn("PYTHONPATH", environment)
        self.assertNotIn("MMR_TEST_SECRET", environment)


class Bounds(PoolTestCase):
    async def test_more_than_may_wait_is_refused(self) -> None:
        """R20."""
        limits = attrs.evolve(LIMITS, wall_seconds=1.0)
        pool = self.make_pool(max_waiting=1, limits=limits)
        running, waiting = self.parse(pool, b"!hang"), self.parse(pool, b"!hang")
        self.assertEqual(pool.waiting, 1)

        self.assertEqual(await self.refused(self.parse(pool, b"x")), 503)
        await gatherResults([running, waiting])

    async def test_a_stop_ends_what_runs_and_clears_up(self) -> None:
        pool = self.make_pool()
        await self.parse(pool, b"x")
        jobs = [self.parse(pool, b"!hang"), self.parse(pool, b"!hang")]
        start = time.monotonic()

        await pool.stop()

        self.assertLess(time.monotonic() - start, 8)
        for job in jobs:
            self.assertEqual(await self.refused(job), 503)
        self.assertEqual(await self.refused(self.parse(pool, b"x")), 503)
        self.assertEqual(list(self.temp.iterdir()), [])

    async def test_a_worker_that_can_t_be_started_is_a_503(self) -> None:
        pool = self.make_pool(command=("/nonexistent",))

        self.assertEqual(await self.refused(self.parse(pool, b"x")), 503)
