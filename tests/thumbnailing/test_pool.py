"""The pool: grouping, limits, and what hostile files cost."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from PIL import Image

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.trial.unittest import TestCase

from mmr.errors import MatrixError
from mmr.thumbnailing.model import (
    CannotThumbnail,
    ImageInfo,
    Refusal,
    Rendered,
    RenderOptions,
)
from mmr.thumbnailing.pool import MAX_TARGETS, ThumbnailPool
from mmr.thumbnailing.process import WORKER_COMMAND
from mmr.thumbnailing.sizes import DEFAULT_SIZES, TargetSize
from mmr.types import Method
from mmr.util.clock import Clock
from mmr.util.confined.limits import WorkerLimits

from tests.thumbnailing.images import (
    RED,
    encoded,
    exif_block,
    is_near,
    opened,
    oriented,
    photo,
    png_claiming,
    quadrants,
)

HOSTILE_COMMAND = (sys.executable, "-m", "tests.thumbnailing.hostile_worker")
BOX = TargetSize(100, 75, Method.SCALE)


def children(state: str | None = None) -> list[int]:
    """The children of this process; only those in a state, if one is named."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and state in (None, fields[0]):
            found.append(int(entry.parent.name))
    return found


class PoolTestCase(TestCase):
    """A pool with a hostile worker, and files to feed it."""

    command = HOSTILE_COMMAND

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.temp = self.folder / "temp"
        self.temp.mkdir(parents=True)
        # Such as the PostgreSQL of other tests of this process.
        self.strangers = set(children())
        self.pool = self.make_pool()

    def workers(self, state: str | None = None) -> list[int]:
        """The pool's processes; only those in a state, if one is named."""
        return [child for child in children(state) if child not in self.strangers]

    def make_pool(
        self,
        *,
        workers: int = 2,
        max_waiting: int = 100,
        limits: WorkerLimits | None = None,
        command: tuple[str, ...] | None = None,
    ) -> ThumbnailPool:
        pool = ThumbnailPool(
            workers,
            max_waiting,
            limits or WorkerLimits(wall_seconds=20),
            Clock(reactor),
            reactor,
            self.temp,
            command or self.command,
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(pool.stop()))
        return pool

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def good(self) -> Path:
        return self.file("good", encoded(quadrants(), "PNG"))

    def bad(self, order: str) -> Path:
        return self.file(order.replace(" ", "-"), f"!{order}".encode())

    def render(
        self, source: Path, target: TargetSize = BOX, *, key: str | None = None
    ) -> Deferred[Rendered]:
        return Deferred.fromCoroutine(
            self.pool.render(source, "image/png", target, key=key or source.name)
        )

    async def refused(self, work: Awaitable[object]) -> Refusal:
        try:
            await work
        except CannotThumbnail as error:
            self.assertEqual((error.status, error.errcode), (400, "M_UNKNOWN"))
            return error.reason
        self.fail("it was not refused")

    async def failed_with(self, work: Awaitable[object]) -> int:
        try:
            await work
        except MatrixError as error:
            return error.status
        self.fail("it did not fail")


class RenderTests(PoolTestCase):
    command = WORKER_COMMAND

    async def test_a_thumbnail_comes_back(self) -> None:
        result = await self.render(self.good())

        self.assertEqual((result.width, result.height), (100, 75))
        self.assertEqual(result.content_type, "image/png")
        self.assertFalse(result.animated)
        self.assertTrue(is_near(opened(result.data).getpixel((10, 10)), RED))

    async def test_a_probe_tells_the_size_as_viewers_see_it(self) -> None:
        """D57."""
        data = encoded(oriented(quadrants(), 6), "JPEG", exif=exif_block(6))
        source = self.file("turned", data)

        info = await self.pool.probe(source, "image/jpeg", key="turned")
        self.assertEqual(info, ImageInfo(400, 300, "image/jpeg"))

    async def test_sizes_asked_for_at_once_share_one_decode(self) -> None:
        source = self.file("photo", encoded(photo(1000, 750), "JPEG"))
        asked = [
            self.render(source, TargetSize(*size, Method.SCALE))
            for size in DEFAULT_SIZES
        ]
        asked += [self.render(source, TargetSize(96, 96, Method.CROP)) for _ in "ab"]
        asked.append(
            Deferred.fromCoroutine(
                self.pool.probe(source, "image/png", key=source.name)
            )
        )

        results = [await one for one in asked]

        self.assertEqual(self.pool.jobs_started, 1)
        widths = [result.width for result in results]
        self.assertEqual(widths, [32, 96, 320, 640, 800, 96, 96, 1000])

    async def test_more_targets_than_a_job_takes_need_another(self) -> None:
        asked = [
            self.render(self.good(), TargetSize(side, side, Method.CROP))
            for side in range(10, 10 + MAX_TARGETS + 1)
        ]

        widths = [(await one).width for one in asked]

        self.assertEqual(widths, list(range(10, 10 + MAX_TARGETS + 1)))
        self.assertEqual(self.pool.jobs_started, 2)

    async def test_the_start_can_tell_how_workers_are_confined(self) -> None:
        """R35."""
        self.assertIn("nice 10", await self.pool.describe())

    async def test_a_bomb_is_too_large_for_probes_too(self) -> None:
        """R34: the same limits for everything that looks inside."""
        source = self.file("bomb", png_claiming(60_000, 60_000))

        probed = self.pool.probe(source, "image/png", key="bomb")
        self.assertEqual(await self.failed_with(probed), 413)

    async def test_too_many_bytes_are_too_large(self) -> None:
        """D27."""
        options = RenderOptions(max_source_bytes=100)
        work = self.pool.render(self.good(), "image/png", BOX, options, key="k")

        self.assertEqual(await self.failed_with(work), 413)

    async def test_an_operator_may_switch_the_limits_off(self) -> None:
        options = RenderOptions(max_source_bytes=1 << 40, max_pixels=1 << 40)
        work = self.pool.render(self.good(), "image/png", BOX, options, key="k")

        self.assertEqual((await work).width, 100)

    async def test_a_label_of_another_family_is_refused(self) -> None:
        """R28."""
        work = self.pool.render(self.good(), "video/mp4", BOX, key="k")

        self.assertIs(await self.refused(work), Refusal.MISLABELLED)

    async def test_a_missing_source_is_no_fault_of_the_file(self) -> None:
        with self.assertRaises(FileNotFoundError):
            await self.render(self.folder / "absent", key="k")
        await self.render(self.good(), key="k")

    async def test_workers_are_replaced_after_their_share_of_jobs(self) -> None:
        self.pool = self.make_pool(workers=1, limits=WorkerLimits(jobs=2))

        folders = []
        for index in range(4):
            await self.render(self.good(), key=str(index))
            folders.append([path.name for path in self.temp.iterdir()])

        self.assertEqual([len(names) for names in folders], [1, 0, 1, 0])
        self.assertNotEqual(folders[0], folders[2])
        self.assertEqual(self.workers("Z"), [])


class FailureTests(PoolTestCase):
    async def test_fifty_requests_for_a_failing_file_start_one_job(self) -> None:
        """R34."""
        source = self.bad("slow 0.05")
        asked = [
            self.render(source, TargetSize(10 + index % 5, 10, Method.CROP))
            for index in range(50)
        ]

        for one in asked:
            self.assertIs(await self.refused(one), Refusal.BROKEN)
        self.assertIs(await self.refused(self.render(source)), Refusal.BROKEN)
        self.assertEqual(self.pool.jobs_started, 1)

    async def test_requests_that_come_while_it_fails_fail_with_it(self) -> None:
        """R34: another size of a bomb isn't another try."""
        source = self.bad("slow 0.2")
        first = self.render(source)
        while not self.pool.running:
            await Clock(reactor).sleep(0.01)
        second = self.render(source, TargetSize(32, 32, Method.CROP))

        self.assertIs(await self.refused(first), Refusal.BROKEN)
        self.assertIs(await self.refused(second), Refusal.BROKEN)
        self.assertEqual(self.pool.jobs_started, 1)

    async def assert_costs_one_request(self, order: str, limits: WorkerLimits) -> None:
        """R33: the request fails as a bad file does, a parallel one succeeds."""
        self.pool = self.make_pool(limits=limits)
        hostile, honest = self.render(self.bad(order)), self.render(self.good())

        self.assertEqual((await honest).width, 100)
        self.assertIs(await self.refused(hostile), Refusal.CRASHED)
        self.assertEqual((await self.render(self.good(), key="again")).width, 100)
        self.assertEqual(self.workers("Z"), [])

    async def test_a_worker_that_segfaults(self) -> None:
        await self.assert_costs_one_request("segfault", WorkerLimits())

    async def test_a_worker_that_exits(self) -> None:
        await self.assert_costs_one_request("exit", WorkerLimits())

    async def test_a_worker_that_spins(self) -> None:
        await self.assert_costs_one_request("spin", WorkerLimits(cpu_seconds=1))

    async def test_a_worker_that_hangs(self) -> None:
        await self.assert_costs_one_request("hang", WorkerLimits(wall_seconds=1.5))

    async def test_a_worker_that_allocates(self) -> None:
        limits = WorkerLimits(address_space=400 << 20)
        await self.assert_costs_one_request("allocate", limits)

    async def test_a_worker_that_talks_nonsense(self) -> None:
        await self.assert_costs_one_request("babble", WorkerLimits())

    async def test_a_worker_that_talks_without_end(self) -> None:
        await self.assert_costs_one_request("flood", WorkerLimits())

    async def test_wrong_results_are_not_handed_on(self) -> None:
        """R39."""
        kinds = ("nothing", "half", "wrong-size", "lying-size", "wrong-type")
        for kind in (*kinds, "foreign-type", "too-many", "negative", "endless"):
            work = self.render(self.bad(f"result {kind}"))
            self.assertIs(await self.refused(work), Refusal.CRASHED, kind)
        self.assertEqual((await self.render(self.bad("result right"))).width, 50)

    async def test_a_worker_that_can_not_start_is_our_fault(self) -> None:
        self.pool = self.make_pool(command=("/bin/false",))
        work = self.render(self.good())
        self.assertEqual(await self.failed_with(work), 503)
        self.assertEqual(await self.failed_with(self.render(self.good())), 503)
        self.assertEqual(list(self.temp.iterdir()), [])
        self.assertEqual(self.pool.jobs_started, 2)

    async def test_a_worker_that_was_killed_while_idle_is_replaced(self) -> None:
        self.pool = self.make_pool(workers=1)
        await self.render(self.good(), key="one")
        for child in self.workers():
            os.kill(child, signal.SIGKILL)

        result = await self.render(self.good(), key="two")
        self.assertEqual(result.width, 100)


class QueueTests(PoolTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.pool = self.make_pool(workers=1, max_waiting=2)

    async def busy(self) -> Deferred[Rendered]:
        """Fill the only worker for a while."""
        running = self.render(self.bad("slow 0.2"))
        while not self.pool.running:
            await Clock(reactor).sleep(0.01)
        return running

    async def test_one_render_too_many_is_refused(self) -> None:
        running = await self.busy()
        waiting = [self.render(self.good(), key=key) for key in "ab"]

        self.assertEqual(self.pool.waiting, 2)
        self.assertEqual(await self.failed_with(self.render(self.good(), key="c")), 503)
        joined = self.render(self.good(), key="b")
        await self.refused(running)
        for work in (*waiting, joined):
            self.assertEqual((await work).width, 100)
        self.assertEqual(self.pool.jobs_started, 3)

    async def test_work_that_nobody_waits_for_is_dropped(self) -> None:
        running = await self.busy()
        gone = self.render(self.good(), key="a")
        gone.cancel()
        stays = [self.render(self.good(), key="b") for _ in range(2)]
        stays[0].cancel()

        for cancelled in (gone, stays[0]):
            with self.assertRaises(CancelledError):
                await cancelled
        self.assertEqual(self.pool.waiting, 1)
        await self.refused(running)
        self.assertEqual((await stays[1]).width, 100)
        self.assertEqual(self.pool.jobs_started, 2)

    async def test_who_leaves_a_running_job_does_not_disturb_it(self) -> None:
        source = self.bad("slow 0.1")
        running = [self.render(source) for _ in range(2)]
        while not self.pool.running:
            await Clock(reactor).sleep(0.01)
        running[0].cancel()

        self.assertIs(await self.refused(running[1]), Refusal.BROKEN)
        with self.assertRaises(CancelledError):
            await running[0]

    async def started(self, source: Path) -> Deferred[Rendered]:
        """A render that a worker has begun with."""
        running = self.render(source)
        await self.until(lambda: bool(self.pool.running and self.workers()))
        return running

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await Clock(reactor).sleep(0.01)

    async def test_a_job_that_nobody_waits_for_is_ended(self) -> None:
        """R66: within a second, with its worker; the next one finds everything."""
        source = self.bad("hang")
        await self.render(self.good())
        [worker] = self.workers()
        running = await self.started(source)
        left_at = Clock(reactor).monotonic()
        running.cancel()
        with self.assertRaises(CancelledError):
            await running
        self.assertLess(Clock(reactor).monotonic() - left_at, 1)
        self.assertEqual(self.pool.running, 0)
        self.assertNotIn(worker, self.workers())

        again = await self.started(source)
        self.assertEqual(self.pool.jobs_started, 3)
        again.addErrback(lambda _: None).cancel()
        await self.until(lambda: not self.pool.running)
        self.assertEqual((await self.render(self.good())).width, 100)

    async def test_a_short_job_ends_by_itself(self) -> None:
        """To replace its worker would cost more."""
        await self.render(self.good())
        workers = self.workers()
        (await self.started(self.bad("slow 0.1"))).addErrback(lambda _: None).cancel()
        await self.until(lambda: not self.pool.running)
        await self.render(self.good())
        self.assertEqual(self.workers(), workers)

    async def test_who_comes_back_soon_finds_the_job(self) -> None:
        source = self.bad("slow 0.2")
        running = await self.started(source)
        running.cancel()
        again = self.render(source)
        self.assertIs(await self.refused(again), Refusal.BROKEN)
        self.assertEqual(self.pool.jobs_started, 1)
        with self.assertRaises(CancelledError):
            await running

    async def test_the_source_stays_until_the_worker_has_done_with_it(self) -> None:
        """R66: its descriptor may be another file's a moment later."""
        running = await self.started(self.bad("slow 0.2"))
        busy: list[int] = []
        running.addErrback(lambda _: busy.append(self.pool.running))
        running.cancel()
        self.assertEqual((busy, self.pool.running), ([], 1))
        await self.until(lambda: bool(busy))
        self.assertEqual(busy, [0])

    async def test_stopping_ends_everything_at_once(self) -> None:
        running = self.render(self.bad("hang"))
        while not self.pool.running:
            await Clock(reactor).sleep(0.01)
        waiting = self.render(self.good())
        outcomes = DeferredList([running, waiting], consumeErrors=True)

        await self.pool.stop()

        for success, failure in await outcomes:
            self.assertFalse(success)
            self.assertEqual(failure.value.status, 503)
        self.assertEqual(await self.failed_with(self.render(self.good())), 503)
        self.assertEqual(list(self.temp.iterdir()), [])
        self.assertEqual(self.workers("Z"), [])


class SourceTests(PoolTestCase):
    async def test_file_names_never_reach_a_program(self) -> None:
        """R36: workers get open files; the names are not even told."""
        for name in ("-f", "|id", "$(id)", ";", "a b"):
            source = self.file(name, encoded(Image.new("RGB", (9, 9)), "PNG"))
            self.assertEqual((await self.render(source)).width, 9)
