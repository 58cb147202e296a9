"""How often each hash was downloaded lately."""

from __future__ import annotations

from collections import OrderedDict

from mmr.util.clock import Clock

_MINUTE = 60

MAX_COUNTERS = 50_000
"""Hashes counted at once (some 20 MB); one more forgets the one idle for longest."""


class _Counter:
    """Downloads of one hash by minute, oldest first, and their sum."""

    __slots__ = ("downloads", "minutes", "total", "touched_at")

    def __init__(self) -> None:
        self.minutes: list[int] = []
        self.downloads: list[int] = []
        self.total = 0
        self.touched_at = 0.0

    def add(self, minute: int) -> None:
        if self.minutes and self.minutes[-1] == minute:
            self.downloads[-1] += 1
        else:
            self.minutes.append(minute)
            self.downloads.append(1)
        self.total += 1

    def drop_before(self, minute: int) -> None:
        while self.minutes and self.minutes[0] < minute:
            del self.minutes[0]
            self.total -= self.downloads.pop(0)


class DownloadCounts:
    """Counts in buckets of a minute, over a sliding window (mmr-config §5).

    Args:
        tracked_minutes: The window. A bucket goes when it is older; a whole counter
            goes when nothing was added for so long.
        clock: Its monotonic time makes the minutes.
    """

    def __init__(self, tracked_minutes: int, clock: Clock) -> None:
        self._tracked_minutes = tracked_minutes
        self._clock = clock
        self._counters: OrderedDict[str, _Counter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counters)

    def add(self, sha256_hash: str) -> None:
        """Count one download."""
        counter = self._counters.get(sha256_hash)
        now = self._clock.monotonic()
        minute = int(now // _MINUTE)
        if counter is None:
            counter = self._counters[sha256_hash] = _Counter()
            if len(self._counters) > MAX_COUNTERS:
                self._counters.popitem(last=False)
        else:
            self._counters.move_to_end(sha256_hash)
            self._expire(counter, now)
        counter.add(minute)
        counter.touched_at = now

    def count(self, sha256_hash: str) -> int:
        """Downloads in the window up to now."""
        counter = self._counters.get(sha256_hash)
        if counter is None:
            return 0
        self._expire(counter, self._clock.monotonic())
        return counter.total

    def drop_idle(self) -> None:
        """Forget the hashes that nobody asked for during a whole window."""
        limit = self._clock.monotonic() - self._tracked_minutes * _MINUTE
        while self._counters:
            oldest = next(iter(self._counters))
            if self._counters[oldest].touched_at > limit:
                break
            del self._counters[oldest]

    def _expire(self, counter: _Counter, now: float) -> None:
        if now - counter.touched_at >= self._tracked_minutes * _MINUTE:
            counter.drop_before(int(now // _MINUTE) + 1)
        else:
            counter.drop_before(int(now // _MINUTE) - self._tracked_minutes)
