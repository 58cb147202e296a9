"""Keeping some of the disk free for the database and the log (R82)."""

from __future__ import annotations

from mmr.datastores.base import DatastoreFull
from mmr.datastores.filesystem import FileSystem, Space
from mmr.util.clock import Clock

_FRESH_SECONDS = 2.0
_DEFAULT_FLOOR_BYTES = 1 << 30
_DEFAULT_FLOOR_SHARE = 50


class FreeSpace:
    """Refuses new bytes before the disk is full.

    What is asked for counts as used at once; the system is asked again every two
    seconds, and before a refusal. `refresh` and `take` block; pool threads may share
    one object, as being off by a piece for two seconds doesn't matter.

    Args:
        datastore_id: For messages.
        path: Any path on the file system; it must exist when asked.
        fs: System calls.
        clock: For the age of the last answer.
        min_free_bytes: The floor; None for 1 GiB or 2 % of the disk, the larger one.
    """

    def __init__(
        self,
        datastore_id: str,
        path: str,
        fs: FileSystem,
        clock: Clock,
        min_free_bytes: int | None = None,
    ) -> None:
        self._datastore_id = datastore_id
        self._path = path
        self._fs = fs
        self._clock = clock
        self._min_free_bytes = min_free_bytes
        self._space = Space(0, 0)
        self._used_since = 0
        self._asked_at: float | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether the last answer is young enough to rely on."""
        asked_at = self._asked_at
        return (
            asked_at is not None and self._clock.monotonic() - asked_at < _FRESH_SECONDS
        )

    @property
    def floor(self) -> int:
        """Bytes that stay free."""
        if self._min_free_bytes is not None:
            return self._min_free_bytes
        return max(_DEFAULT_FLOOR_BYTES, self._space.total // _DEFAULT_FLOOR_SHARE)

    def fits(self, size: int) -> bool:
        """Whether so many bytes more leave the floor free, by the last answer."""
        return self._space.free - self._used_since - size >= self.floor

    def refresh(self) -> None:
        """Ask the system. Raises `OSError`."""
        self._space = self._fs.space(self._path)
        self._used_since = 0
        self._asked_at = self._clock.monotonic()

    def require(self, size: int) -> None:
        """Refuse by the last answer.

        Raises:
            DatastoreFull: when so many bytes more would pass the floor.
        """
        if not self.fits(size):
            raise DatastoreFull(
                f"datastore {self._datastore_id!r}: {self._space.free} bytes are free "
                f"at {self._path} and {self.floor} are kept free (opts.minFreeBytes): "
                "nothing more is stored. Free space on that disk, or add a datastore "
                "on another one."
            )

    def take(self, size: int) -> None:
        """Claim bytes that are about to be written. Raises as both of the above."""
        if not (self.is_fresh and self.fits(size)):
            self.refresh()
        self.require(size)
        self._used_since += size
