"""Work that goes on beside its caller: so much at once, and none of it forgotten."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredSemaphore,
)
from twisted.python.failure import Failure

R = TypeVar("R")


async def together(works: Iterable[Coroutine[Deferred[Any], Any, R]]) -> list[R]:
    """Run coroutines side by side, each to its end; gives what they return, in order.

    Raises:
        Exception: what the first that failed has raised, itself and in no wrapper.
    """
    running = [Deferred.fromCoroutine(work) for work in works]
    results: list[Any] = await DeferredList(running, consumeErrors=True)
    for is_fine, result in results:
        if not is_fine:
            result.raiseException()
    return [result for _, result in results]


class Lanes:
    """Runs coroutines side by side. Its ``async with`` waits for them in the end.

    Args:
        count: How many at once.
    """

    def __init__(self, count: int) -> None:
        self._slots = DeferredSemaphore(count)
        self._running: set[Deferred[None]] = set()
        self._failure: Failure | None = None

    async def start(self, work: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        """Begin some work as soon as there is a lane for it.

        Returns:
            Fires when it has ended, well or not.

        Raises:
            Exception: what earlier work has raised. Nothing new is begun then.
        """
        try:
            await self._slots.acquire()
            if self._failure is not None:
                self._slots.release()
                self._failure.raiseException()
        except BaseException:
            work.close()
            raise
        ended: Deferred[None] = Deferred()
        running = Deferred.fromCoroutine(work)
        self._running.add(running)
        running.addErrback(self._note)
        running.addBoth(lambda _: self._end(running, ended))
        return ended

    async def __aenter__(self) -> Lanes:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        """Wait until all has ended.

        Raises:
            Exception: the first one that any of the work has raised, if the caller has
                not raised one itself.
        """
        cancelled: CancelledError | None = None
        while self._running:
            try:
                await _end_of(next(iter(self._running)))
            except CancelledError as signal:
                # What is under way may be half stored.
                cancelled = signal
        if cancelled is not None:
            raise cancelled
        if self._failure is not None and not error:
            self._failure.raiseException()

    def _note(self, failure: Failure) -> None:
        self._failure = self._failure or failure

    def _end(self, running: Deferred[None], ended: Deferred[None]) -> None:
        self._running.discard(running)
        self._slots.release()
        ended.callback(None)


def _end_of(work: Deferred[None]) -> Deferred[None]:
    """Fires with it. Cancelling that only ends the wait."""
    waiting: Deferred[None] = Deferred(lambda _: None)

    def wake(result: R) -> R:
        if not waiting.called:
            waiting.callback(None)
        return result

    work.addBoth(wake)
    return waiting
