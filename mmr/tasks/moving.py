"""Media that moves from one server to another, many at once and batch after batch.

Nothing is kept between runs: what is at its new home already is passed over, a batch at
a time, so a run that was cut off goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredSemaphore,
)
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from mmr.errors import StartupError
from mmr.interop.sources import SourceBusy, SourceError
from mmr.media.adopted import AdoptedMedia, fault_of
from mmr.tasks.movable import Batch, Handled, HandleSmall, Movable, ReadSmall, Tally
from mmr.types import Mxc
from mmr.util.lanes import Lanes, together

R = TypeVar("R")

_ATTEMPTS = 4
# After so many in a row that could not be had, the homeserver is down.
_HOPELESS = 20
# Small files are stored together: the more wait, the fewer flushes each costs.
_SMALL_BYTES = 256 * 1024
_LANES = 128
# What is read and stored together: all of it is in memory.
_GROUP = 512
_GROUP_BYTES = 12 * 1024 * 1024
# The next ones are read while earlier ones are stored.
_GROUPS_AT_ONCE = 3


class Moving:
    """Has each media handled, and counts.

    Args:
        handle: What to do with one: store it, compare it, or only look at it.
        find_taken: Those of some ids that are passed over; None: none are.
        handle_small: What to do with many small ones that were read already; None:
            each is handled by itself.
        workers: How many large ones are handled at once.
        advance: Is told how many more rows are done.
        tell: Is told of each media that has a `Handled.detail`.
        reactor: For waits.
    """

    def __init__(
        self,
        handle: Callable[[Movable], Awaitable[Handled]],
        find_taken: Callable[[Sequence[Mxc]], Awaitable[set[Mxc]]] | None,
        *,
        handle_small: HandleSmall | None = None,
        workers: int,
        advance: Callable[[int], None],
        tell: Callable[[Mxc, Handled], None],
        reactor: IReactorTime,
    ) -> None:
        self.tally = Tally()
        self._handle = handle
        self._find_taken = find_taken
        self._handle_small = handle_small
        self._large = DeferredSemaphore(workers)
        self._advance = advance
        self._tell = tell
        self._reactor = reactor
        self._unlucky = 0
        self._is_over = False
        self._pauses: set[Deferred[None]] = set()

    async def run(self, batches: AsyncIterator[Batch]) -> None:
        """Handle everything. Cancelling stops it once what is under way has ended.

        Raises:
            MatrixError: our database or datastore doesn't work.
            StartupError: the other server, or its database, doesn't.
        """
        running = Deferred.fromCoroutine(self._handle_batches(batches))
        ended = DeferredList([running], consumeErrors=True)
        waiting: Deferred[None] = Deferred(lambda _: None)
        ended.addCallback(lambda results: _wake(waiting, results))
        try:
            await waiting
        except CancelledError:
            # What is half stored by then is stored to its end.
            self._is_over = True
            for pause in tuple(self._pauses):
                pause.cancel()
            await ended
            raise
        [(_, result)] = await ended
        if isinstance(result, Failure):
            raise result.value

    async def _handle_batches(self, batches: AsyncIterator[Batch]) -> None:
        async with Lanes(_GROUPS_AT_ONCE) as lanes:
            async for batch in batches:
                for reason, count in batch.skipped.items():
                    self._pass_over(reason, count)
                alone = await self._wanted(batch.media)
                read, handle = batch.read_small, self._handle_small
                if read is not None and handle is not None:
                    small, alone = _split(alone)
                    for group in _groups(small):
                        await lanes.start(self._handle_group(group, read, handle))
                await self._handle_each(alone, _LANES)
                if self._is_over:
                    return

    async def _wanted(self, media: Sequence[Movable]) -> list[Movable]:
        if self._find_taken is None or not media:
            return list(media)
        taken = await self._find_taken([each.media.mxc for each in media])
        wanted = [each for each in media if each.media.mxc not in taken]
        self._pass_over("known", len(media) - len(wanted))
        return wanted

    def _pass_over(self, reason: str, count: int) -> None:
        self.tally.counts[reason] += count
        self._advance(count)

    async def _handle_group(
        self, group: Sequence[Movable], read: ReadSmall, handle: HandleSmall
    ) -> None:
        try:
            left = await self._handle_together(group, read, handle)
            await self._handle_each(left, _LANES // _GROUPS_AT_ONCE)
        except BaseException:
            self._is_over = True
            raise

    async def _handle_together(
        self, group: Sequence[Movable], read: ReadSmall, handle: HandleSmall
    ) -> list[Movable]:
        """Gives those that have to be handled by themselves."""
        if self._is_over:
            return []
        files, left = [], []
        for movable, data in zip(group, await read(group), strict=True):
            if data is None:
                left.append(movable)
            else:
                files.append((movable.media, data))
        if files and not self._is_over:
            results = await handle(files)
            for (media, _), handled in zip(files, results, strict=True):
                self._note(media, handled)
            self._advance(len(files))
            self._unlucky = 0
        return left

    async def _handle_each(self, media: Sequence[Movable], lanes: int) -> None:
        queue = iter(media)
        await together(self._handle_all(queue) for _ in range(min(lanes, len(media))))

    async def _handle_all(self, queue: Iterator[Movable]) -> None:
        try:
            for movable in queue:
                if self._is_over:
                    return
                if _is_small(movable.media):
                    handled = await self._handle_one(movable)
                else:
                    async with self._large:
                        handled = await self._handle_one(movable)
                self._note(movable.media, handled)
                self._advance(1)
        except BaseException:
            self._is_over = True
            raise

    async def _handle_one(self, movable: Movable) -> Handled:
        fault = fault_of(movable.media)
        if fault is not None:
            return Handled("failed", detail=fault)
        for attempt in range(_ATTEMPTS):
            try:
                handled = await self._handle(movable)
            except SourceBusy as error:
                reason = str(error)
                await self._pause(error.wait_s * (attempt + 1))
            except SourceError as error:
                return Handled("failed", detail=str(error))
            else:
                self._unlucky = 0
                return handled
        self._unlucky += 1
        if self._unlucky >= _HOPELESS:
            raise StartupError(
                f"{reason}. {_HOPELESS} media in a row could not be had: given up. "
                "Run it again when the homeserver answers; it goes on from here."
            )
        return Handled("failed", detail=reason)

    async def _pause(self, seconds: float) -> None:
        pause: Deferred[None] = deferLater(self._reactor, seconds)
        self._pauses.add(pause)
        try:
            await pause
        finally:
            self._pauses.remove(pause)

    def _note(self, media: AdoptedMedia, handled: Handled) -> None:
        self.tally.counts[handled.word] += 1
        self.tally.size_bytes += handled.size_bytes
        if handled.detail:
            self.tally.faults += 1
            self._tell(media.mxc, handled)


def _is_small(media: AdoptedMedia) -> bool:
    size = media.expected_bytes
    return size is not None and 0 <= size <= _SMALL_BYTES


def _split(media: Sequence[Movable]) -> tuple[list[Movable], list[Movable]]:
    """Those that may be handled together, and the others."""
    small: list[Movable] = []
    others: list[Movable] = []
    for each in media:
        is_plain = _is_small(each.media) and fault_of(each.media) is None
        (small if is_plain else others).append(each)
    return small, others


def _groups(media: Sequence[Movable]) -> Iterator[list[Movable]]:
    """Small ones, as many together as may be."""
    group: list[Movable] = []
    size_bytes = 0
    for movable in media:
        size_bytes += movable.media.expected_bytes or 0
        if len(group) == _GROUP or size_bytes > _GROUP_BYTES:
            yield group
            group, size_bytes = [], movable.media.expected_bytes or 0
        group.append(movable)
    if group:
        yield group


def _wake(waiting: Deferred[None], results: R) -> R:
    if not waiting.called:
        waiting.callback(None)
    return results
