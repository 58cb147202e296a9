"""Makes runs wait that would remove nearly everything (R100)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

UNUSUAL_COUNT = 1000
_ALL = 1 << 31
_PATIENCE_S = 24 * 3600.0

CountAround = Callable[[int, int], Awaitable[tuple[int, int]]]
"""How many are older than a time (ms), and how many are not; each at most so many."""


class Patience:
    """Stops what a clock that jumped ahead would cause.

    Such a clock makes nearly everything old at once. A run that would remove more than
    it leaves says so and waits a day, by the clock that doesn't jump.

    Args:
        what: What is removed, for the log.
        key: The setting that keeps it.
        clock: The time.
    """

    def __init__(self, what: str, key: str, clock: Clock) -> None:
        self._what = what
        self._key = key
        self._clock = clock
        self._unusual_since: float | None = None

    async def must_wait(self, before_ts: int, count_around: CountAround) -> bool:
        """Whether a run up to that time (ms) has to be left for later."""
        older, newer = await count_around(before_ts, UNUSUAL_COUNT)
        if older == UNUSUAL_COUNT:
            # Only runs of this size pay for counting them all.
            older, newer = await count_around(before_ts, _ALL)
        if older < UNUSUAL_COUNT or older <= newer:
            self._unusual_since = None
            return False
        now = self._clock.monotonic()
        if self._unusual_since is None:
            self._unusual_since = now
        if now - self._unusual_since >= _PATIENCE_S:
            return False
        logger.warning(
            "Not removing %d old %s yet: that is most of them (%d would stay). Is the"
            " clock right? If it stays so for a day they are removed. Change `%s` to"
            " keep them.",
            older,
            self._what,
            newer,
            self._key,
        )
        return True
