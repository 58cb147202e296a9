"""Work that must reach its end although nobody waits for it any more."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

R = TypeVar("R")

logger = Logger()


def shield(work: Coroutine[Deferred[Any], Any, R]) -> Deferred[R]:
    """Start the work; cancelling the result ends the wait, never the work.

    A client that leaves while its upload is committed must not stop the commit half
    way: the database's thread would go on, and the caller would clean up under it.
    """
    outer: Deferred[R] = Deferred(lambda _: None)
    running = Deferred.fromCoroutine(work)

    def hand_over(result: R | Failure) -> None:
        if not outer.called:
            outer.callback(result)
        elif isinstance(result, Failure):
            logger.failure("Work went on after its client had left, and failed", result)

    running.addBoth(hand_over)
    return outer
