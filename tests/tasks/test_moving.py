"""Media on the move: what is there is passed over, what fails is named, what can wait
is tried again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mmr.errors import StartupError, unavailable
from mmr.interop.sources import SourceBusy, SourceError
from mmr.media.adopted import AdoptedMedia
from mmr.tasks.movable import Batch, Handled, Movable, read_in_threads
from mmr.tasks.moving import Moving
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


class GroupTests(TestCase):
    """Small media whose source reads many at once."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.advanced = 0
        self.told: dict[str, str] = {}
        self.read: list[list[str]] = []
        self.stored: list[list[str]] = []
        self.alone: list[str] = []
        self.unread: set[str] = set()
        self.storing: list[Deferred[None]] = []
        self.waits = False

    async def read_small(self, media: Sequence[Movable]) -> list[bytes | None]:
        ids = [each.media.media_id for each in media]
        self.read.append(ids)
        return [None if each in self.unread else each.encode() for each in ids]

    async def store(self, files: Sequence[tuple[AdoptedMedia, bytes]]) -> list[Handled]:
        for item, data in files:
            self.assertEqual(data, item.media_id.encode())
        self.stored.append([item.media_id for item, _ in files])
        if self.waits:
            self.storing.append(Deferred())
            await self.storing[-1]
        return [self.outcome(item.media_id) for item, _ in files]

    def outcome(self, media_id: str) -> Handled:
        if media_id.startswith("damaged"):
            return Handled("damaged", detail="other bytes")
        return STORED

    async def handle(self, each: Movable) -> Handled:
        self.alone.append(each.media.media_id)
        if each.media.media_id.startswith("gone"):
            raise SourceError("no such file")
        return STORED

    def moving(self, **options: Any) -> Moving:
        def advance(count: int) -> None:
            self.advanced += count

        def tell(mxc: Mxc, handled: Handled) -> None:
            self.told[mxc.media_id] = f"{handled.word}: {handled.detail}"

        return Moving(
            self.handle,
            None,
            **{"handle_small": self.store, **options},
            workers=2,
            advance=advance,
            tell=tell,
            reactor=self.clock,
        )

    async def batches(self, *groups: list[Movable]) -> AsyncIterator[Batch]:
        for group in groups:
            yield Batch(group, Counter(), self.read_small)

    def many(self, count: int, start: int = 0, size: int = 10) -> list[Movable]:
        return [movable(f"media{n:04}", size) for n in range(start, start + count)]

    async def test_only_small_ones_go_together(self) -> None:
        media = [
            movable("small", 256 * 1024),
            movable("empty", 0),
            movable("large", 256 * 1024 + 1),
            movable("unknown", None),
            movable("negative", -1),
            movable("bad/id", 10),
        ]
        moving = self.moving()
        await moving.run(self.batches(media))
        self.assertEqual(self.read, [["small", "empty"]])
        self.assertEqual(self.stored, [["small", "empty"]])
        self.assertEqual(self.alone, ["large", "unknown", "negative"])
        self.assertEqual(moving.tally.counts, {"stored": 5, "failed": 1})
        self.assertEqual(moving.tally.size_bytes, 50)
        self.assertEqual(
            self.told, {"bad/id": "failed: its address is not a valid MXC URI"}
        )
        self.assertEqual(self.advanced, 6)

    async def test_what_cannot_be_read_with_others_is_handled_by_itself(self) -> None:
        self.unread = {"gone1", "late1"}
        media = [movable(each) for each in ("a", "gone1", "damaged1", "late1", "z")]
        moving = self.moving()
        await moving.run(self.batches(media))
        self.assertEqual(self.stored, [["a", "damaged1", "z"]])
        self.assertEqual(self.alone, ["gone1", "late1"])
        self.assertEqual(
            self.told,
            {"gone1": "failed: no such file", "damaged1": "damaged: other bytes"},
        )
        self.assertEqual(moving.tally.counts, {"stored": 3, "damaged": 1, "failed": 1})
        self.assertEqual((moving.tally.faults, self.advanced), (2, 5))

    async def test_each_by_itself_when_nobody_stores_many(self) -> None:
        await self.moving(handle_small=None).run(self.batches(self.many(3)))
        self.assertEqual((self.read, len(self.alone)), ([], 3))

    async def test_groups_have_a_bound_in_number_and_in_bytes(self) -> None:
        await self.moving().run(self.batches(self.many(1000)))
        self.assertEqual([len(each) for each in self.stored], [512, 488])
        self.stored.clear()
        await self.moving().run(self.batches(self.many(100, size=256 * 1024)))
        self.assertEqual([len(each) for each in self.stored], [48, 48, 4])

    def test_few_groups_are_in_memory_and_batches_do_not_wait_for_each_other(
        self,
    ) -> None:
        self.waits = True
        batches = [self.many(600, start) for start in range(0, 3000, 600)]
        moving = self.moving()
        running = Deferred.fromCoroutine(moving.run(self.batches(*batches)))
        self.assertEqual([len(each) for each in self.read], [512, 88, 512])
        self.storing[1].callback(None)
        self.assertEqual(len(self.read), 4)
        self.assertEqual(self.advanced, 88)
        while any(not each.called for each in self.storing):
            for each in self.storing:
                if not each.called:
                    each.callback(None)
        self.successResultOf(running)
        self.assertEqual(moving.tally.counts, {"stored": 3000})
        self.assertEqual(self.advanced, 3000)

    def test_our_own_trouble_ends_it_once_the_other_groups_are_stored(self) -> None:
        self.waits = True
        moving = self.moving()
        batches = self.batches(self.many(1000), self.many(1000, 1000))
        running = Deferred.fromCoroutine(moving.run(batches))
        first, second, third = self.storing
        second.errback(unavailable("The disk is full"))
        self.assertNoResult(running)
        first.callback(None)
        self.assertNoResult(running)
        third.callback(None)
        failure = self.failureResultOf(running)
        self.assertEqual(str(failure.value), "The disk is full")
        self.assertEqual(len(self.stored), 3)
        self.assertEqual(moving.tally.counts, {"stored": 1024})

    def test_cancelled_it_stores_what_is_under_way_and_no_more(self) -> None:
        self.waits = True
        moving = self.moving()
        batches = self.batches(self.many(1000), self.many(1000, 1000))
        running = Deferred.fromCoroutine(moving.run(batches))
        running.cancel()
        self.assertNoResult(running)
        for each in self.storing:
            each.callback(None)
        self.failureResultOf(running, CancelledError)
        self.assertEqual(len(self.stored), 3)
        self.assertEqual(moving.tally.counts, {"stored": 512 + 488 + 512})

    def test_cancelled_at_the_end_it_waits_for_the_last_groups(self) -> None:
        self.waits = True
        moving = self.moving()
        running = Deferred.fromCoroutine(moving.run(self.batches(self.many(10))))
        running.cancel()
        self.assertNoResult(running)
        self.storing[0].callback(None)
        self.failureResultOf(running, CancelledError)
        self.assertEqual(moving.tally.counts, {"stored": 10})

    async def test_who_never_answers_is_given_up_on(self) -> None:
        async def handle(each: Movable) -> Handled:
            raise SourceBusy("connection refused", wait_s=1)

        self.patch(self, "handle", handle)
        self.unread = {each.media.media_id for each in self.many(1000)}
        running = Deferred.fromCoroutine(
            self.moving().run(self.batches(self.many(1000)))
        )
        self.clock.pump([1] * 30)
        with self.assertRaisesRegex(StartupError, "connection refused"):
            await running
        self.assertEqual(len(self.told), 19)


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
