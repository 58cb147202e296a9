"""Waiting for what happens by itself, in tests that run in the reactor."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from twisted.internet import reactor
from twisted.internet.task import deferLater


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], seconds: float = 10
) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result if isinstance(result, bool) else await result:
            return
        assert time.monotonic() < deadline, "it didn't happen"
        await deferLater(reactor, 0.01)


class Waiting:
    """For test cases."""

    eventually = staticmethod(eventually)
