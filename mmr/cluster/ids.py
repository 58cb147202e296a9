"""Names that no process gives twice: media ids, object names, export ids."""

from __future__ import annotations

import hashlib
import os

from mmr.util.clock import Clock

_EPOCH_MS = 1_288_834_974_657
_TIMESTAMP_BITS = 41
_MACHINE_BITS = 10
_SEQUENCE_BITS = 12
_MAX_MACHINE_ID = (1 << _MACHINE_BITS) - 1
_MAX_SEQUENCE = (1 << _SEQUENCE_BITS) - 1

# MMR's mark of its second way to name objects (mmr-storage §3).
_OBJECT_SUFFIX = "idv2fmt"
_DIGITS = 40
_SHARED_DIGITS = 4


class IdGenerator:
    """Makes ids in MMR's form: 40 random hex digits, then a decimal snowflake.

    The snowflake is 41 bits of milliseconds since 4 November 2010, 10 bits of machine
    id and 12 bits of sequence (mmr-storage §3). For use in the reactor thread.

    Args:
        machine_id: ``MACHINE_ID``, 0 to 1023; different in every process.
        clock: Source of the milliseconds. It may jump (R100).

    Raises:
        ValueError: when the machine id is out of range.
    """

    def __init__(self, machine_id: int, clock: Clock) -> None:
        if not 0 <= machine_id <= _MAX_MACHINE_ID:
            raise ValueError(f"machine id {machine_id} is not in 0..{_MAX_MACHINE_ID}")
        self._machine_id = machine_id
        self._clock = clock
        self._last_ms = 0
        self._sequence = -1

    def unique_id(self) -> str:
        """An id for media, exports and imports."""
        digits = hashlib.sha1(os.urandom(32), usedforsecurity=False).hexdigest()
        return f"{digits}{self._snowflake()}"

    def object_name(self) -> str:
        """A name for an object; the datastore makes a location of it."""
        return self.unique_id() + _OBJECT_SUFFIX

    def object_names(self, count: int) -> list[str]:
        """Names for objects that are stored together: they share their first digits,
        which make the folder of a file datastore.
        """
        shared = os.urandom(_SHARED_DIGITS // 2).hex()
        length = _DIGITS - _SHARED_DIGITS
        digits = os.urandom(count * length // 2).hex()
        return [
            f"{shared}{digits[at : at + length]}{self._snowflake()}{_OBJECT_SUFFIX}"
            for at in range(0, count * length, length)
        ]

    def _snowflake(self) -> int:
        # Our own time never goes back, and runs ahead when a millisecond is used up:
        # a wall clock that jumps back must not repeat a number (R100).
        now_ms = self._clock.time_ms() - _EPOCH_MS
        if now_ms > self._last_ms:
            self._last_ms, self._sequence = now_ms, 0
        elif self._sequence < _MAX_SEQUENCE:
            self._sequence += 1
        else:
            self._last_ms, self._sequence = self._last_ms + 1, 0
        timestamp = self._last_ms & ((1 << _TIMESTAMP_BITS) - 1)
        return (
            timestamp << (_MACHINE_BITS + _SEQUENCE_BITS)
            | self._machine_id << _SEQUENCE_BITS
            | self._sequence
        )
