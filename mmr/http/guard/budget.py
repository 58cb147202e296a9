"""How many guarded requests run and wait at once (R20)."""

from __future__ import annotations

from collections import Counter

import attrs

from twisted.internet.defer import Deferred

from mmr.errors import unavailable
from mmr.http.guard.waiting import within
from mmr.util.clock import Clock

_WAIT_SECONDS = 30.0
_BUSY = "The server is busy (outbound requests). Try again later."

Subject = tuple[str, str]


@attrs.frozen
class Bound:
    """How many may run, and how many more may wait for their turn."""

    running: int
    waiting: int


@attrs.frozen
class Bounds:
    """Limits of one kind of guarded requests (section 0.2)."""

    per_destination: Bound
    per_user: Bound
    total: Bound


PREVIEW_BOUNDS = Bounds(Bound(4, 50), Bound(4, 20), Bound(50, 200))
MEDIA_BOUNDS = Bounds(Bound(50, 500), Bound(16, 100), Bound(500, 2000))


@attrs.define(eq=False)
class Slot:
    """The right to run one request, until it is given back."""

    _budget: Budget
    _subjects: tuple[Subject, ...]
    _is_held: bool = True

    def release(self) -> None:
        """Give it back. Doing so again changes nothing."""
        if self._is_held:
            self._is_held = False
            self._budget._release(self._subjects)


class Budget:
    """Hands out slots, first come first served among those whose bounds have room.

    A destination or user at its bound holds up nobody else.

    Args:
        clock: The time.
        bounds: The limits.
        wait_seconds: The longest wait for a slot.
    """

    def __init__(
        self, clock: Clock, bounds: Bounds, wait_seconds: float = _WAIT_SECONDS
    ) -> None:
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._bounds = {
            "destination": bounds.per_destination,
            "user": bounds.per_user,
            "all": bounds.total,
        }
        # Only subjects that run or wait are kept, so the bounds limit these too.
        self._running: Counter[Subject] = Counter()
        self._waiting: Counter[Subject] = Counter()
        self._queue: dict[Deferred[None], tuple[Subject, ...]] = {}

    @property
    def running(self) -> int:
        """Slots that are held."""
        return self._running["all", ""]

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return len(self._queue)

    async def acquire(
        self, destination: str, user: str | None, seconds: float | None = None
    ) -> Slot:
        """Wait for a slot.

        Args:
            destination: The host that will be asked.
            user: Whoever caused the request; None: nobody in particular.
            seconds: The longest wait, when it is shorter than the budget's own.

        Raises:
            MatrixError: 503: too many wait already, or for too long.
        """
        subjects: tuple[Subject, ...] = (("destination", destination), ("all", ""))
        if user is not None:
            subjects = (("user", user), *subjects)
        if not self._fits(subjects):
            limit = self._wait_seconds
            limit = limit if seconds is None else min(limit, seconds)
            await within(self._clock, limit, self._wait(subjects), unavailable(_BUSY))
        else:
            self._running.update(subjects)
        return Slot(self, subjects)

    def _fits(self, subjects: tuple[Subject, ...]) -> bool:
        return all(self._running[s] < self._bounds[s[0]].running for s in subjects)

    async def _wait(self, subjects: tuple[Subject, ...]) -> None:
        if any(self._waiting[s] >= self._bounds[s[0]].waiting for s in subjects):
            raise unavailable(_BUSY)
        turn: Deferred[None] = Deferred(self._leave)
        self._queue[turn] = subjects
        self._waiting.update(subjects)
        await turn

    def _leave(self, turn: Deferred[None]) -> None:
        _subtract(self._waiting, self._queue.pop(turn))

    def _release(self, subjects: tuple[Subject, ...]) -> None:
        _subtract(self._running, subjects)
        for turn, waiting in list(self._queue.items()):
            if self._fits(waiting):
                self._leave(turn)
                self._running.update(waiting)
                turn.callback(None)


def _subtract(counter: Counter[Subject], subjects: tuple[Subject, ...]) -> None:
    for subject in subjects:
        counter[subject] -= 1
        if counter[subject] <= 0:
            del counter[subject]
