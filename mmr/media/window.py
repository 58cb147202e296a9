"""The end of a file that isn't kept, in memory."""

from __future__ import annotations

from mmr.datastores.base import StoredObject

WINDOW_BYTES = 256 * 1024


class Window:
    """A file on its way through, as an object that forgets its beginning.

    Args:
        written: What was written before there was no more room; closed with this.
        written_bytes: So many of its bytes are right.
        data: What came since.
    """

    size = 0

    def __init__(
        self, written: StoredObject | None, written_bytes: int, data: bytes
    ) -> None:
        self._written = written
        self._written_bytes = self._start = written_bytes
        self._data = bytearray(data)

    @property
    def end(self) -> int:
        """Bytes that have come so far."""
        return self._start + len(self._data)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is forgotten yet."""
        return self._start == self._written_bytes

    @property
    def is_full(self) -> bool:
        """Whether something has to be forgotten before more is added."""
        return len(self._data) > WINDOW_BYTES

    def add(self, data: bytes) -> None:
        """More of the file has come."""
        self._data += data

    def forget(self, position: int) -> bool:
        """Nobody needs what is before this any more.

        Returns:
            Whether that makes room.
        """
        count = position - self._start
        if count <= 0:
            return False
        del self._data[:count]
        self._start = position
        return True

    async def read(self, offset: int, length: int) -> bytes:
        """See `StoredObject.read`. Nothing before `forget`'s position is asked for."""
        in_file = self._written_bytes - offset
        if in_file > 0:
            assert self._written is not None
            return await self._written.read(offset, min(length, in_file))
        start = offset - self._start
        return bytes(self._data[start : start + length])

    def fileno(self) -> int | None:
        """None: there is no file."""
        return None

    async def close(self) -> None:
        """See `StoredObject.close`."""
        self._data.clear()
        written, self._written = self._written, None
        if written is not None:
            await written.close()
