"""Servers that fail again and again are left alone (Synapse's scheme)."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

import attrs

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mmr.federation.errors import Cause, RemoteFailed
from mmr.federation.expiring import Expiring
from mmr.storage.destinations import Destination, DestinationStore
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

FIRST_INTERVAL_MS = 10 * 60 * 1000
LAST_INTERVAL_MS = 7 * 24 * 3600 * 1000
_GROWTH = 2
_JITTER = (0.8, 1.4)
_MAX_ENTRIES = 10_000
# How long the database's word is taken, and how long failures count as in a row.
_KNOWN_S = 60.0
_IN_A_ROW_S = 3600.0


@attrs.define
class _Failures:
    count: int = 0


class BackOff:
    """Counts failures in a row; from a number on, a server is asked ever more rarely.

    Kept in the database, so it holds for all processes and over restarts. What the
    database says is remembered for a minute.

    Args:
        store: The database.
        clock: The time.
        threshold: ``federation.backoffAt``, as it is now.
        rng: Spreads the retries.
    """

    def __init__(
        self,
        store: DestinationStore,
        clock: Clock,
        threshold: Callable[[], int],
        rng: random.Random,
    ) -> None:
        self._store = store
        self._clock = clock
        self._threshold = threshold
        self._rng = rng
        self._known: Expiring[str, tuple[Destination | None]]
        self._known = Expiring(clock, _MAX_ENTRIES)
        self._failures: Expiring[str, _Failures] = Expiring(clock, _MAX_ENTRIES)

    async def check(self, destination: str) -> None:
        """Fail if the server is to be left alone now.

        Raises:
            RemoteFailed: it is.
        """
        backing_off = await self._get(destination)
        if backing_off is None:
            return
        left_ms = backing_off.retry_ts - self._clock.time_ms()
        # More than the whole wait: the clock was ahead when it began (R100).
        if 0 < left_ms <= backing_off.retry_interval:
            detail = f"failed too often; next try in {left_ms / 1000:.0f} s"
            raise RemoteFailed(Cause.UNREACHABLE, "back-off", detail)

    async def _get(self, destination: str) -> Destination | None:
        known = self._known.get(destination)
        if known is None:
            known = (await self._store.get(destination),)
            self._known.put(destination, known, _KNOWN_S)
        return known[0]

    def succeeded(self, destination: str) -> None:
        """It answered, or it signed a request to us: all is well again."""
        self._failures.drop(destination)
        if self._known.get(destination) != (None,):
            _in_background(self._note_success(destination))

    def failed(self, destination: str, started_ts: int) -> None:
        """A request failed by the server's fault.

        Args:
            destination: The server.
            started_ts: When the request began, ms: a failure that was under way
                when another one was noted doesn't lengthen the wait.
        """
        _in_background(self._note_failure(destination, started_ts))

    async def _note_success(self, destination: str) -> None:
        if await self._get(destination) is not None:
            self._known.put(destination, (None,), _KNOWN_S)
            await self._store.clear(destination)
            logger.info("The server %s answers again", destination)

    async def _note_failure(self, destination: str, started_ts: int) -> None:
        before = await self._get(destination)
        if before is None and not self._is_enough(destination):
            return
        if before is not None and before.retry_last_ts >= started_ts:
            return
        now = self._clock.time_ms()
        first_ts = now if before is None else before.failure_ts
        noted = Destination(destination, first_ts, now, self._next_interval(before))
        self._known.put(destination, (noted,), _KNOWN_S)
        logger.warning(
            "The server %s fails again and again; it is left alone for %d s",
            destination,
            noted.retry_interval // 1000,
        )
        await self._store.save(noted)

    def _is_enough(self, destination: str) -> bool:
        failures = self._failures.get(destination) or _Failures()
        failures.count += 1
        self._failures.put(destination, failures, _IN_A_ROW_S)
        return failures.count >= self._threshold()

    def _next_interval(self, before: Destination | None) -> int:
        if before is None:
            return FIRST_INTERVAL_MS
        grown = before.retry_interval * _GROWTH * self._rng.uniform(*_JITTER)
        return min(LAST_INTERVAL_MS, int(grown))


def _in_background(work: Coroutine[Deferred[Any], Any, object]) -> None:
    """The request doesn't wait for the note of how it went."""

    def log(failure: Failure) -> None:
        logger.warning("A server's back-off was not stored: %s", failure.value)

    Deferred.fromCoroutine(work).addErrback(log)
