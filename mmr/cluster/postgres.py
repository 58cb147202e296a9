"""One PostgreSQL connection of one's own: notifications, and locks that end with it."""

from __future__ import annotations

import logging
import os
import queue
import select
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from mmr.cluster.bus import CHANNELS, Deliver
from mmr.storage.engines import PostgresEngine
from mmr.storage.errors import DatabaseUnavailable
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

R = TypeVar("R")

_HEARTBEAT_SECONDS = 1.0
# The thread lets the reactor know that it lives. Silence for so long is deafness.
_SILENCE_SECONDS = 3.0
_RECONNECT_SECONDS = 1.0
_MAX_JOBS = 10_000

_Job = tuple[Callable[[Any], Any], "Deferred[Any]"]


class SessionLost(Exception):
    """The connection is not there; what was locked over it is locked no more."""


class PostgresSession:
    """A thread that keeps one connection, reconnects, and listens to the bus.

    Args:
        engine: How to connect.
        clock: For the silence.
        reactor: Where messages and results are delivered.
    """

    def __init__(
        self, engine: PostgresEngine, clock: Clock, reactor: IReactorThreads
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._reactor = reactor
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._heard_at: float | None = None
        self._deliver: Deliver | None = None
        self._gap: Callable[[], None] | None = None
        self.generation = 0
        """Grows with each connection: a lock is held while it stays."""

    @property
    def is_live(self) -> bool:
        """Whether notifications are heard."""
        return (
            self._heard_at is not None
            and self._clock.monotonic() - self._heard_at < _SILENCE_SECONDS
        )

    def start(self, deliver: Deliver, gap: Callable[[], None]) -> None:
        """Begin to connect. See `Transport.start`."""
        self._deliver, self._gap = deliver, gap
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="bus", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Close the connection."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        self._stopping.set()
        self._wake()
        pool = self._reactor.getThreadPool()
        await deferToThreadPool(self._reactor, pool, thread.join)
        os.close(self._read_end)
        os.close(self._write_end)
        self._refuse_jobs()

    async def publish(self, channel: str, payload: str) -> bool:
        """See `Transport.publish`."""
        try:
            await self.query("SELECT pg_notify(%s, %s)", (channel, payload))
        except SessionLost:
            return False
        return True

    async def query(self, sql: str, params: tuple[Any, ...]) -> Any:
        """Run one query in this session; gives the first value.

        Raises:
            SessionLost: the connection isn't there, or broke.
        """

        def job(connection: Any) -> Any:
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
                return cursor.fetchone()[0]

        if self._thread is None or not self.is_live or self._jobs.qsize() >= _MAX_JOBS:
            raise SessionLost
        result: Deferred[Any] = Deferred(lambda _: None)
        self._jobs.put((job, result))
        self._wake()
        return await result

    # In the thread.

    def _run(self) -> None:
        while not self._stopping.is_set():
            connection = None
            try:
                connection = self._engine.connect()
                with connection.cursor() as cursor:
                    for channel in CHANNELS:
                        cursor.execute(f'LISTEN "{channel}"')
                self._call(self._connected)
                self._serve(connection)
            except (DatabaseUnavailable, self._engine.error, OSError) as error:
                self._call(self._lost, str(error).strip())
            finally:
                if connection is not None:
                    connection.close()
            self._stopping.wait(_RECONNECT_SECONDS)

    def _serve(self, connection: Any) -> None:
        while not self._stopping.is_set():
            ready, _, _ = select.select(
                [connection.fileno(), self._read_end], [], [], _HEARTBEAT_SECONDS
            )
            if self._read_end in ready:
                os.read(self._read_end, 4096)
            if not ready:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
            self._run_jobs(connection)
            connection.poll()
            messages = [(each.channel, each.payload) for each in connection.notifies]
            connection.notifies.clear()
            self._call(self._heard, messages)

    def _run_jobs(self, connection: Any) -> None:
        while True:
            try:
                job, result = self._jobs.get_nowait()
            except queue.Empty:
                return
            try:
                self._call(_settle, result, job(connection))
            except Exception as error:
                self._call(_settle, result, Failure(SessionLost(str(error))))
                raise

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        if not self._stopping.is_set():
            self._reactor.callFromThread(function, *args)

    def _wake(self) -> None:
        try:
            os.write(self._write_end, b".")
        except BlockingIOError:
            # It is full of wake-up calls already.
            return

    # In the reactor.

    def _connected(self) -> None:
        self.generation += 1
        self._heard_at = self._clock.monotonic()
        assert self._gap is not None
        self._gap()

    def _heard(self, messages: list[tuple[str, str]]) -> None:
        self._heard_at = self._clock.monotonic()
        assert self._deliver is not None
        for channel, payload in messages:
            self._deliver(channel, payload)

    def _lost(self, why: str) -> None:
        if self._heard_at is not None:
            logger.warning("The connection for notifications is lost: %s", why)
        self._heard_at = None
        self._refuse_jobs()

    def _refuse_jobs(self) -> None:
        while not self._jobs.empty():
            _, result = self._jobs.get_nowait()
            _settle(result, Failure(SessionLost("the session ended")))


def _settle(result: Deferred[Any], value: Any) -> None:
    if not result.called:
        result.callback(value)
