"""Leaky buckets: so much at once, and then as fast as they drain."""

from __future__ import annotations

from collections import OrderedDict

import attrs

from mmr.util.clock import Clock

MAX_SUBJECTS = 100_000


@attrs.frozen(slots=True)
class Shape:
    """What all buckets of a kind have in common.

    Attributes:
        capacity: What may come at once.
        drain_per_s: What is forgiven each second.
        overflow: How far a single charge may pass the capacity.
    """

    capacity: float
    drain_per_s: float
    overflow: float = 0.0


class LeakyBuckets:
    """One bucket a subject. They drain all the time, not in steps (D60).

    The number of subjects is bounded (R79): the one not charged for longest goes
    first, and that one has drained the most.

    Args:
        shape: Of every bucket; may be changed at any time.
        clock: For the draining.
        max_subjects: Buckets kept.
    """

    def __init__(
        self, shape: Shape, clock: Clock, max_subjects: int = MAX_SUBJECTS
    ) -> None:
        self.shape = shape
        self._clock = clock
        self._max_subjects = max_subjects
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._unshared: dict[str, float] = {}
        self.is_shared = False
        """Whether `take_unshared` will be called."""

    def __len__(self) -> int:
        return len(self._levels)

    def level(self, subject: str) -> float:
        """What is in a subject's bucket now."""
        entry = self._levels.get(subject)
        if entry is None:
            return 0.0
        level, at = entry
        return max(0.0, level - (self._clock.monotonic() - at) * self.shape.drain_per_s)

    def wait_s(self, subject: str, amount: float) -> float:
        """Seconds until the amount fits; 0: now.

        What is larger than a whole bucket fits into an empty one: otherwise nobody who
        waits as told would ever succeed (R78).
        """
        level, shape = self.level(subject), self.shape
        most = shape.capacity + shape.overflow
        excess = max(level - shape.capacity, level + min(amount, most) - most)
        return max(0.0, excess / shape.drain_per_s)

    def add(self, subject: str, amount: float) -> float:
        """Charge, or give back (below 0). Gives the new level."""
        level = max(0.0, self.level(subject) + amount)
        self._set(subject, level)
        if self.is_shared:
            self._unshared[subject] = self._unshared.get(subject, 0.0) + amount
            if len(self._unshared) > self._max_subjects:
                del self._unshared[next(iter(self._unshared))]
        return level

    def take_unshared(self, limit: int) -> dict[str, float]:
        """What was charged here and the other processes don't know of yet."""
        subjects = list(self._unshared)[:limit]
        return {subject: self._unshared.pop(subject) for subject in subjects}

    def learn(self, subject: str, level: float) -> None:
        """Take over the level that all processes together have come to."""
        self._set(subject, level + self._unshared.get(subject, 0.0))

    def _set(self, subject: str, level: float) -> None:
        self._levels[subject] = level, self._clock.monotonic()
        self._levels.move_to_end(subject)
        if len(self._levels) > self._max_subjects:
            self._levels.popitem(last=False)
