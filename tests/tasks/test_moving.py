"""Media on the move: what is there is passed over, what fails is named, what can wait
is tried again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mmr.errors import StartupError, unavailable
from mmr.interop.sources import SourceBusy, SourceError
from mmr.media.adopted import AdoptedMedia
from mmr.tasks.moving import Batch, Handled, Movable, Moving, read_in_threads
from mmr.types import Mxc

from tests.datastores.fakes import Foreground

STORED = Handled("stored", 10)


async def no_bytes() -> AsyncIterator[bytes]:
    yield b""


async def is_there() -> None:
    return


def movable(media_id: str, size: int | None = 10) -> Movable:
    media = AdoptedMedia(
        origin="one.test",
        media_id=media_id,
        content_type="text/plain",
        creation_ts=1,
        expected_bytes=size,
    )
    return Movable(media, no_bytes, is_there)


async def batches(*groups: list[Movable]) -> AsyncIterator[Batch]:
    for group in groups:
        yield Batch(group, Counter({"skipped": 2}))


class MovingTests(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.advanced = 0
        self.told: dict[str, Handled] = {}

    def moving(
        self,
        handle: Callable[[Movable], Awaitable[Handled]],
        taken: set[str] | None = None,
        workers: int = 2,
    ) -> Moving:
        async def find_taken(media: object) -> set[Mxc]:
            return {Mxc("one.test", media_id) for media_id in taken or ()}

        return Moving(
            handle,
            None if taken is None else find_taken,
            workers=workers,
            advance=self.advance,
            tell=lambda mxc, handled: self.told.update({mxc.media_id: handled}),
            reactor=self.clock,
        )

    def advance(self, count: int) -> None:
        self.advanced += count

    async def test_everything_is_handled_and_counted(self) -> None:
        handled = []

        async def handle(each: Movable) -> Handled:
            handled.append(each.media.media_id)
            return STORED

        moving = self.moving(handle, {"b"})
        await moving.run(
            batches([movable("a"), movable("b")], [], [movable("c", size=None)])
        )
        self.assertEqual(handled, ["a", "c"])
        wanted = {"stored": 2, "known": 1, "skipped": 6}
        self.assertEqual({k: v for k, v in moving.tally.counts.items() if v}, wanted)
        self.assertEqual(moving.tally.size_bytes, 20)
        self.assertEqual((moving.tally.faults, self.told), (0, {}))
        self.assertEqual(self.advanced, 9)

    async def test_a_fault_is_told_and_the_rest_goes_on(self) -> None:
        async def handle(each: Movable) -> Handled:
            if each.media.media_id == "gone":
                raise SourceError("no such file")
            return STORED

        moving = self.moving(handle)
        await moving.run(batches([movable(i) for i in ("a", "gone", "bad/id", "z")]))
        self.assertEqual(
            self.told,
            {
                "gone": Handled("failed", detail="no such file"),
                "bad/id": Handled(
                    "failed", detail="its address is not a valid MXC URI"
                ),
            },
        )
        self.assertEqual(moving.tally.counts["stored"], 2)
        self.assertEqual(moving.tally.faults, 2)

    async def test_a_busy_source_is_asked_again(self) -> None:
        asked: list[float] = []

        async def handle(each: Movable) -> Handled:
            asked.append(self.clock.seconds())
            if len(asked) < 3:
                raise SourceBusy("not now", wait_s=5)
            return STORED

        moving = self.moving(handle)
        running = Deferred.fromCoroutine(moving.run(batches([movable("a")])))
        self.clock.pump([5, 5, 5])
        await running
        self.assertEqual(asked, [0, 5, 15])
        self.assertEqual(moving.tally.counts["stored"], 1)

    async def test_who_never_answers_is_given_up_on(self) -> None:
        async def handle(each: Movable) -> Handled:
            raise SourceBusy("connection refused", wait_s=1)

        everything = [movable(f"media{number}") for number in range(300)]
        running = Deferred.fromCoroutine(self.moving(handle).run(batches(everything)))
        self.clock.pump([1] * 30)
        with self.assertRaises(StartupError) as caught:
            await running
        self.assertIn("connection refused", str(caught.exception))
        # One of them may be unlucky; so many in a row are not.
        self.assertEqual(len(self.told), 19)

    async def test_our_own_trouble_ends_it_once_all_have_stopped(self) -> None:
        waiting: list[Deferred[None]] = []

        async def handle(each: Movable) -> Handled:
            if each.media.media_id == "media5":
                raise unavailable("The disk is full")
            waiting.append(Deferred())
            await waiting[-1]
            return STORED

        everything = [movable(f"media{number}") for number in range(300)]
        running = Deferred.fromCoroutine(self.moving(handle).run(batches(everything)))
        self.assertNoResult(running)
        for each in list(waiting):
            each.callback(None)
        failure = self.failureResultOf(running)
        self.assertEqual(str(failure.value), "The disk is full")
        # Nobody took another one after the failure.
        self.assertLess(len(waiting), 300)

    async def test_cancelled_it_ends_what_is_under_way_and_no_more(self) -> None:
        running: list[Deferred[None]] = []
        begun = []

        async def handle(each: Movable) -> Handled:
            begun.append(each)
            if each.media.media_id == "media7":
                raise SourceBusy("not now", wait_s=60)
            running.append(Deferred())
            await running[-1]
            return STORED

        everything = [movable(f"media{number}") for number in range(1000)]
        moving = self.moving(handle)
        done = Deferred.fromCoroutine(moving.run(batches(everything)))
        at_once = len(begun)
        done.cancel()
        self.assertNoResult(done)
        for each in running:
            each.callback(None)
        self.failureResultOf(done, CancelledError)
        self.assertEqual(len(begun), at_once)
        self.assertEqual(moving.tally.counts["stored"], at_once - 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_large_ones_are_few_at_a_time(self) -> None:
        running: list[Deferred[None]] = []

        async def handle(each: Movable) -> Handled:
            running.append(Deferred())
            await running[-1]
            return STORED

        for size, wanted in ((1 << 20, 2), (None, 2), (10, 100)):
            running.clear()
            everything = [movable(f"media{number}", size) for number in range(100)]
            done = Deferred.fromCoroutine(self.moving(handle).run(batches(everything)))
            self.assertEqual(len(running), wanted)
            for each in running:
                each.callback(None)
            self.successResultOf(done)


class ReadingTests(TestCase):
    async def read(self, open_chunks: Callable[[], Iterator[bytes]]) -> bytes:
        self.threads = Foreground()
        chunks = read_in_threads(open_chunks, self.threads)
        return b"".join([chunk async for chunk in chunks])

    async def test_all_chunks_come_in_order(self) -> None:
        pieces = [bytes([number]) * 300_000 for number in range(10)]
        self.assertEqual(await self.read(lambda: iter(pieces)), b"".join(pieces))

    async def test_nothing_is_nothing(self) -> None:
        self.assertEqual(await self.read(lambda: iter(())), b"")

    async def test_a_failure_comes_through(self) -> None:
        def broken() -> Iterator[bytes]:
            yield b"a"
            raise SourceError("the disk is broken")

        with self.assertRaises(SourceError):
            await self.read(broken)
