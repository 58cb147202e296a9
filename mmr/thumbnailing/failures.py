"""Sources that got no thumbnail: a bomb is decoded once, not once a view (R34)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from mmr.thumbnailing.model import Refusal
from mmr.util.clock import Clock

_OVERLOAD_SECONDS = 300.0
"""At most, for a worker that took too long: perhaps it was the machine."""


class FailureMemory:
    """Refusals by source, for a while: limits and decoders change with a restart.

    Args:
        clock: Tells the age.
        max_entries: The least recently seen goes first.
        max_age: Seconds.
    """

    def __init__(
        self, clock: Clock, max_entries: int = 10_000, max_age: float = 3600.0
    ) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._max_age = max_age
        self._failures: OrderedDict[Hashable, tuple[float, Refusal]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def remember(self, source: Hashable, reason: Refusal) -> None:
        """Keep a refusal."""
        lasts = self._max_age
        if reason is Refusal.CRASHED:
            lasts = min(lasts, _OVERLOAD_SECONDS)
        self._failures[source] = (self._clock.monotonic() + lasts, reason)
        self._failures.move_to_end(source)
        if len(self._failures) > self._max_entries:
            self._failures.popitem(last=False)

    def recall(self, source: Hashable) -> Refusal | None:
        """How this source ended, if it is not too long ago."""
        if source not in self._failures:
            return None
        until, reason = self._failures[source]
        if self._clock.monotonic() > until:
            del self._failures[source]
            return None
        self._failures.move_to_end(source)
        return reason
