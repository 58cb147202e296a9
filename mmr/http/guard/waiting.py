"""Limits of time around work that awaits."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from mmr.util.clock import Clock

R = TypeVar("R")


async def within(
    clock: Clock,
    seconds: float,
    work: Coroutine[Deferred[Any], Any, R],
    late: Exception,
) -> R:
    """Give the work so many seconds, then cancel it.

    Args:
        clock: The time.
        seconds: 0 or less: one turn of the reactor.
        work: A coroutine; it must clean up when it is cancelled.
        late: Raised when the time is over, however the cancelled work ends.
    """
    running = Deferred.fromCoroutine(work)
    is_late = False

    def time_is_up() -> None:
        nonlocal is_late
        is_late = True
        running.cancel()

    call = clock.call_later(max(0.0, seconds), time_is_up)
    try:
        return await running
    except BaseException:
        if is_late:
            raise late from None
        raise
    finally:
        if call.active():
            call.cancel()
