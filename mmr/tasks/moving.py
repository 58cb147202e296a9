"""Media that moves from one server to another, many at once and batch after batch.

Nothing is kept between runs: what is at its new home already is passed over, a batch at
a time, so a run that was cut off goes on where it stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import attrs

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
from mmr.types import Mxc
from mmr.util.threads import Runner

R = TypeVar("R")

_ATTEMPTS = 4
# After so many in a row that could not be had, the homeserver is down.
_HOPELESS = 20
# Of one media in memory, besides the last chunk.
_READ_AHEAD_BYTES = 1024 * 1024
# Small files are stored together: the more wait, the fewer flushes each costs.
_SMALL_BYTES = 256 * 1024
_LANES = 128


@attrs.frozen(slots=True)
class Movable:
    """One media at its old home.

    Attributes:
        chunks: Reads it; raises `SourceError`.
        probe: Looks whether it is there, without reading it. Likewise.
    """

    media: AdoptedMedia
    chunks: Callable[[], AsyncIterator[bytes]]
    probe: Callable[[], Awaitable[None]]


@attrs.frozen(slots=True)
class Batch:
    """Some rows of the old home's database.

    Attributes:
        skipped: Why others don't move, and how many.
    """

    media: Sequence[Movable]
    skipped: Counter[str]


@attrs.frozen(slots=True)
class Handled:
    """What became of one media.

    Attributes:
        word: What it is counted as.
        detail: Why; empty unless the operator has to know of it by name.
    """

    word: str
    size_bytes: int = 0
    detail: str = ""


@attrs.define
class Tally:
    """What became of everything that was looked at."""

    counts: Counter[str] = attrs.Factory(Counter)
    size_bytes: int = 0
    faults: int = 0


class Moving:
    """Has each media handled, and counts.

    Args:
        handle: What to do with one: store it, compare it, or only look at it.
        find_taken: Those of some ids that are passed over; None: none are.
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
        workers: int,
        advance: Callable[[int], None],
        tell: Callable[[Mxc, Handled], None],
        reactor: IReactorTime,
    ) -> None:
        self.tally = Tally()
        self._handle = handle
        self._find_taken = find_taken
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
        async for batch in batches:
            for reason, count in batch.skipped.items():
                self._pass_over(reason, count)
            queue = iter(await self._wanted(batch.media))
            lanes = [
                Deferred.fromCoroutine(self._handle_all(queue)) for _ in range(_LANES)
            ]
            await self._end_of(lanes)

    async def _end_of(self, lanes: Sequence[Deferred[None]]) -> None:
        """Wait for all of them, also when one has failed or the run is cancelled: what
        is half stored by then is stored to its end.
        """
        ended = DeferredList(lanes, consumeErrors=True)
        waiting: Deferred[None] = Deferred(lambda _: None)
        ended.addCallback(lambda results: _wake(waiting, results))
        try:
            await waiting
        except CancelledError:
            self._is_over = True
            for pause in tuple(self._pauses):
                pause.cancel()
            await ended
            raise
        for _, result in await ended:
            if isinstance(result, Failure):
                raise result.value

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

    async def _handle_all(self, queue: Iterator[Movable]) -> None:
        try:
            for movable in queue:
                if self._is_over:
                    return
                size = movable.media.expected_bytes
                if size is not None and size <= _SMALL_BYTES:
                    handled = await self._handle_one(movable)
                else:
                    async with self._large:
                        handled = await self._handle_one(movable)
                self._note(movable, handled)
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

    def _note(self, movable: Movable, handled: Handled) -> None:
        self.tally.counts[handled.word] += 1
        self.tally.size_bytes += handled.size_bytes
        if handled.detail:
            self.tally.faults += 1
            self._tell(movable.media.mxc, handled)
        self._advance(1)


def _wake(waiting: Deferred[None], results: R) -> R:
    if not waiting.called:
        waiting.callback(None)
    return results


async def read_in_threads(
    open_chunks: Callable[[], Iterator[bytes]], threads: Runner
) -> AsyncIterator[bytes]:
    """The bytes of one media, read where it may block, some at a time.

    Raises:
        SourceError: when they can't be had.
    """
    chunks = open_chunks()
    is_end = False
    while not is_end:
        pieces, is_end = await threads.run(_take, chunks)
        for piece in pieces:
            yield piece


def _take(chunks: Iterator[bytes]) -> tuple[list[bytes], bool]:
    """Some chunks, and whether they were the last: a small file takes one hop."""
    pieces: list[bytes] = []
    size = 0
    for piece in chunks:
        pieces.append(piece)
        size += len(piece)
        if size >= _READ_AHEAD_BYTES:
            return pieces, False
    return pieces, True
