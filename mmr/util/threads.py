"""Bounded, named thread pools for work that blocks (design §5)."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mmr.errors import unavailable

P = ParamSpec("P")
R = TypeVar("R")


class Runner(Protocol):
    """Runs blocking functions somewhere else. Tests may run them in the foreground."""

    async def run(
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run the function and give its result or raise its exception."""
        ...


class WorkerPool:
    """A thread pool with a bound on the work that may wait.

    Args:
        name: For log lines and metrics.
        size: Threads at most.
        max_waiting: Jobs that may wait for a thread; one more is refused with 503.
        reactor: Where results are delivered.
    """

    def __init__(
        self, name: str, size: int, max_waiting: int, reactor: IReactorFromThreads
    ) -> None:
        self.name = name
        self.size = size
        self._max_pending = size + max_waiting
        self._reactor = reactor
        self._pool = ThreadPool(0, size, name)
        self.pending = 0

    @property
    def waiting(self) -> int:
        """Jobs that have no thread yet."""
        return max(0, self.pending - self.size)

    def start(self) -> None:
        """Accept work. Threads are made when they are first needed."""
        self._pool.start()

    def stop(self) -> None:
        """Finish the running jobs and end the threads. Blocks."""
        if self._pool.started:
            self._pool.stop()

    async def run(
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run the function in a thread, under the caller's context variables.

        Cancelling the wait doesn't stop the thread: the function runs to its end.

        Raises:
            MatrixError: 503 when too much work waits already.
        """
        if self.pending >= self._max_pending:
            raise unavailable(f"The server is busy ({self.name}). Try again later.")
        self.pending += 1
        context = contextvars.copy_context()
        result: Deferred[R] = Deferred(lambda _: None)

        def finished(success: bool, value: R | Failure) -> None:
            self._reactor.callFromThread(self._deliver, result, value)

        job = functools.partial(function, *args, **kwargs)
        self._pool.callInThreadWithCallback(finished, context.run, job)
        return await result

    def _deliver(self, result: Deferred[R], value: R | Failure) -> None:
        self.pending -= 1
        if not result.called:
            result.callback(value)
