"""One run for many askers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

import attrs

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


@attrs.define(eq=False)
class _Flight(Generic[R]):
    waiters: list[Deferred[R]] = attrs.Factory(list)
    work: Deferred[Any] | None = None


class SingleFlight(Generic[K, R]):
    """Concurrent calls with one key share one run and its result or failure.

    Args:
        is_dropped: The run is cancelled when its last asker has left, as costly work
            has to be (R66). Else it goes on: what it stores serves the next one.
    """

    def __init__(self, *, is_dropped: bool = False) -> None:
        self._is_dropped = is_dropped
        self._flights: dict[K, _Flight[R]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: K, function: Callable[[], Awaitable[R]]) -> R:
        """Run the function, or wait for the run that is under way for this key."""
        flight = self._flights.get(key)
        is_first = flight is None
        if flight is None:
            flight = self._flights[key] = _Flight()
        waiter: Deferred[R] = Deferred(lambda left: self._leave(key, flight, left))
        flight.waiters.append(waiter)
        if is_first:
            flight.work = Deferred.fromCoroutine(self._run(key, flight, function))
        return await waiter

    async def _run(
        self, key: K, flight: _Flight[R], function: Callable[[], Awaitable[R]]
    ) -> None:
        outcome: R | Failure
        try:
            outcome = await function()
        except BaseException:
            outcome = Failure()
        self._forget(key, flight)
        flight.work = None
        waiters, flight.waiters = flight.waiters, []
        for waiter in waiters:
            # Who is told first may make another leave.
            if not waiter.called:
                waiter.callback(outcome)

    def _leave(self, key: K, flight: _Flight[R], waiter: Deferred[R]) -> None:
        if waiter in flight.waiters:
            flight.waiters.remove(waiter)
        if self._is_dropped and not flight.waiters and flight.work is not None:
            # Who comes while it is cleared up begins anew.
            self._forget(key, flight)
            flight.work.cancel()

    def _forget(self, key: K, flight: _Flight[R]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
