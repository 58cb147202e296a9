"""One run for many askers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class SingleFlight(Generic[K, R]):
    """Concurrent calls with one key share one run and its result or failure.

    The run goes on when an asker leaves: others may wait for it, and what it stores
    serves the next one.
    """

    def __init__(self) -> None:
        self._waiters: dict[K, list[Deferred[R]]] = {}

    def __len__(self) -> int:
        return len(self._waiters)

    async def run(self, key: K, function: Callable[[], Awaitable[R]]) -> R:
        """Run the function, or wait for the run that is under way for this key."""
        waiter: Deferred[R] = Deferred(lambda _: None)
        if key in self._waiters:
            self._waiters[key].append(waiter)
        else:
            self._waiters[key] = [waiter]
            Deferred.fromCoroutine(self._run(key, function))
        return await waiter

    async def _run(self, key: K, function: Callable[[], Awaitable[R]]) -> None:
        outcome: R | Failure
        try:
            outcome = await function()
        except BaseException:
            outcome = Failure()
        for waiter in self._waiters.pop(key):
            if not waiter.called:
                waiter.callback(outcome)
