"""Whether this process is the only one with its ``MACHINE_ID``.

Two with one number would run each task twice. Names stay unique all the same: they are
random but for their last part.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable

from mmr.cluster.postgres import PostgresSession, SessionLost
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

CHECK_SECONDS = 15.0
"""How often `MachineNumber.check` is due."""

_LOOK_SECONDS = 0.05
_START_SECONDS = 3.0


class MachineNumber:
    """Holds a lock of the number for as long as the process lives.

    Args:
        number: ``MACHINE_ID``.
        session: None without PostgreSQL: then there is only one process.
        clock: For the start.
    """

    def __init__(
        self, number: int, session: PostgresSession | None, clock: Clock
    ) -> None:
        self._number = number
        self._session = session
        self._clock = clock
        digest = hashlib.sha256(f"machine {number}".encode()).digest()
        self._lock = int.from_bytes(digest[:8], "big", signed=True)
        self._held_in: int | None = None

    @property
    def is_mine(self) -> bool:
        """Whether no other process has the number, as far as we know."""
        session = self._session
        if session is None:
            return True
        return self._held_in == session.generation and session.is_live

    async def start(self) -> None:
        """Take the number, if the database answers soon."""
        session = self._session
        if session is None:
            return
        deadline = self._clock.monotonic() + _START_SECONDS
        while not session.is_live and self._clock.monotonic() < deadline:
            await self._clock.sleep(_LOOK_SECONDS)
        await self.check()

    async def check(self) -> None:
        """Take the number again if it was lost, or say who else has it."""
        session = self._session
        if session is None or self.is_mine:
            return
        generation = session.generation
        try:
            taken = await session.query(
                "SELECT pg_try_advisory_lock(%s)", (self._lock,)
            )
        except SessionLost:
            # Then nothing is done by anybody.
            return
        if taken:
            self._held_in = generation
            return
        logger.warning(
            "Another process on this database has MACHINE_ID %d. Unless it is ending"
            " just now, give each process a number of its own.%s",
            self._number,
            "" if self._number else " That one runs the tasks meanwhile.",
        )

    def if_mine(
        self, work: Callable[[], Awaitable[object]]
    ) -> Callable[[], Awaitable[None]]:
        """The work, done only by the one that holds the number."""

        async def run() -> None:
            if self.is_mine:
                await work()

        return run
