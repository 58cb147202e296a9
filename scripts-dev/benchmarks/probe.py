"""Asks a server for its health 100 times a second while it works on something else."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from multiprocessing.synchronize import Event
from types import TracebackType

from benchmarks.wire import Connection

_INTERVAL_S = 0.01
_LONGEST_S = 300.0


class Probe:
    """Measures in a process of its own, so that the load generator doesn't delay it.

    Used as a context manager; afterwards `latencies_ms` holds what it saw.
    """

    def __init__(self, port: int, head: bytes) -> None:
        self._context = multiprocessing.get_context("fork")
        self._stop = self._context.Event()
        self._receiver, sender = self._context.Pipe(duplex=False)
        self._process = self._context.Process(
            target=_watch, args=(port, head, self._stop, sender), daemon=True
        )
        self.latencies_ms: list[float] = []

    def __enter__(self) -> Probe:
        self._process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._receiver.poll(10):
            self.latencies_ms = self._receiver.recv()
        self._process.join(10)


def _watch(port: int, head: bytes, stop: Event, sender) -> None:  # type: ignore[no-untyped-def]
    # Without the right to it, a busy machine makes the figures a little worse.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    latencies_ms = []
    connection = Connection(port)
    end = time.perf_counter() + _LONGEST_S
    while not stop.wait(_INTERVAL_S) and time.perf_counter() < end:
        started = time.perf_counter()
        connection.exchange(head)
        latencies_ms.append((time.perf_counter() - started) * 1000)
    connection.close()
    sender.send(latencies_ms)
