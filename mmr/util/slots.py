"""A bound on how many things run at once, and on how many may wait."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred

from mmr.errors import unavailable


class Slot:
    """The right to run, until it is released."""

    def __init__(self, slots: Slots) -> None:
        self._slots: Slots | None = slots

    def release(self) -> None:
        """Let the next one run. Does nothing the second time."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.released()


class Slots:
    """Gives out slots in the order in which they are asked for.

    Args:
        name: For the refusal.
        size: How many there are now; may change between two questions.
        max_waiting: Askers that may wait.
    """

    def __init__(self, name: str, size: Callable[[], int], max_waiting: int) -> None:
        self._name = name
        self._size = size
        self._max_waiting = max_waiting
        self._waiting: deque[Deferred[None]] = deque()
        self.taken = 0

    @property
    def waiting(self) -> int:
        """Askers without a slot."""
        return len(self._waiting)

    async def take(self) -> Slot:
        """Wait for a slot.

        Raises:
            MatrixError: 503 when too many wait already.
        """
        if self.taken >= self._size():
            if len(self._waiting) >= self._max_waiting:
                raise unavailable(
                    f"The server is busy ({self._name}). Try again later."
                )
            turn: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(turn)
            await turn
        else:
            self.taken += 1
        return Slot(self)

    def released(self) -> None:
        """One slot is free: hand it on, or keep it."""
        if self._waiting and self.taken <= self._size():
            self._waiting.popleft().callback(None)
        else:
            self.taken -= 1


class SlotsByKey:
    """Slots of each key for itself: one that is slow holds up no other (R20).

    Args:
        name: For the refusal.
        size: How many each key has now.
        max_waiting: Askers of one key that may wait.
    """

    def __init__(self, name: str, size: Callable[[], int], max_waiting: int) -> None:
        self._name = name
        self._size = size
        self._max_waiting = max_waiting
        # Only keys with askers are kept.
        self._slots: dict[str, Slots] = {}

    def __len__(self) -> int:
        return len(self._slots)

    @asynccontextmanager
    async def taken(self, key: str) -> AsyncIterator[None]:
        """Hold one of the key's slots.

        Raises:
            MatrixError: 503 when too many wait for that key already.
        """
        slots = self._slots.get(key)
        if slots is None:
            slots = self._slots[key] = Slots(self._name, self._size, self._max_waiting)
        try:
            slot = await slots.take()
            try:
                yield
            finally:
                slot.release()
        finally:
            if not slots.taken and not slots.waiting:
                self._slots.pop(key, None)
