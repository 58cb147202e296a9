"""Keeping some of the disk free for the database and the log (R82)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mmr.datastores.base import DatastoreFull
from mmr.datastores.filesystem import FileSystem
from mmr.util.clock import Clock

_FRESH_SECONDS = 2.0


class FreeSpace:
    """Refuses new bytes before the disk is full.

    What is asked for counts as used at once; the system is asked again every two
    seconds, and before a refusal. The first refusal is an error in the log, those that
    follow are not, until something fits again. `refresh` and `take` block; pool threads
    may share one object, as being off by a piece for two seconds doesn't matter.

    Args:
        datastore_id: For messages.
        path: Any path on the file system; it must exist when asked.
        fs: System calls.
        clock: For the age of the last answer.
        floor: Gives the bytes that stay free (``uploads.minFreeBytes``); asked each
            time, so that a reload counts.
    """

    def __init__(
        self,
        datastore_id: str,
        path: str,
        fs: FileSystem,
        clock: Clock,
        floor: Callable[[], int],
    ) -> None:
        self._datastore_id = datastore_id
        self._path = path
        self._fs = fs
        self._clock = clock
        self._floor = floor
        self._free = 0
        self._used_since = 0
        self._asked_at: float | None = None
        self._is_told = False

    @property
    def is_fresh(self) -> bool:
        """Whether the last answer is young enough to rely on."""
        asked_at = self._asked_at
        return (
            asked_at is not None and self._clock.monotonic() - asked_at < _FRESH_SECONDS
        )

    def fits(self, size: int) -> bool:
        """Whether so many bytes more leave the floor free, by the last answer."""
        return self._free - self._used_since - size >= self._floor()

    def refresh(self) -> None:
        """Ask the system. Raises `OSError`."""
        self._free = self._fs.free_bytes(self._path)
        self._used_since = 0
        self._asked_at = self._clock.monotonic()

    def require(self, size: int) -> None:
        """Refuse by the last answer.

        Raises:
            DatastoreFull: when so many bytes more would pass the floor.
        """
        if self.fits(size):
            self._is_told = False
        else:
            level = logging.DEBUG if self._is_told else logging.ERROR
            self._is_told = True
            raise DatastoreFull(
                f"datastore {self._datastore_id!r}: {size} bytes more don't fit: "
                f"{self._free - self._used_since} are free at {self._path} and "
                f"{self._floor()} are kept free (uploads.minFreeBytes). Free space on "
                "that disk, or add a datastore on another one.",
                level,
            )

    def take(self, size: int) -> None:
        """Claim bytes that are about to be written. Raises as both of the above."""
        if not (self.is_fresh and self.fits(size)):
            self.refresh()
        self.require(size)
        self._used_since += size
