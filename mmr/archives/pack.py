"""Packing into gzip, without labour for what doesn't get smaller.

Pictures, films and sound are compressed already. Deflating them again costs a hundred
times what storing them does, in the packer and nearly as much in whoever unpacks, and
saves next to nothing.
"""

from __future__ import annotations

import struct
import zlib

# What `gzip` and Go take by default.
_LEVEL = 6
_RAW = -15  # zlib's word for: without a frame of its own.
_SAMPLE_BYTES = 2048
_WORTHWHILE = 0.95
_MOST_STORED = 0xFFFF
_HAS_NAME, _UNIX = 8, 3


class Packer:
    """Writes one gzip file (RFC 1952).

    Args:
        name: What the file is called when it is unpacked; ASCII.
    """

    def __init__(self, name: str) -> None:
        head = struct.pack("<2sBBIBB", b"\x1f\x8b", 8, _HAS_NAME, 0, 0, _UNIX)
        self._out = [head, name.encode("ascii"), b"\0"]
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
        self._is_pending = False
        self._crc = 0
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        if _is_worthwhile(data):
            self._out.append(self._deflate.compress(data))
            self._is_pending = True
        else:
            self._store(data)

    def _store(self, data: bytes) -> None:
        """Append blocks that hold the bytes as they are (RFC 1951, 3.2.4)."""
        if self._is_pending:
            # It ends on a byte, and nothing behind it refers to what is before.
            self._out.append(self._deflate.flush(zlib.Z_FULL_FLUSH))
            self._is_pending = False
        for start in range(0, len(data), _MOST_STORED):
            block = data[start : start + _MOST_STORED]
            length = len(block)
            self._out.append(struct.pack("<BHH", 0, length, length ^ 0xFFFF))
            self._out.append(block)

    def close(self) -> None:
        """Write the end."""
        self._out.append(self._deflate.flush())
        self._out.append(struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))

    def take(self) -> bytes:
        """What was packed since the last call."""
        packed = b"".join(self._out)
        self._out.clear()
        return packed


def _is_worthwhile(data: bytes) -> bool:
    """Whether a sample from the middle gets smaller; heads of files always do."""
    if len(data) < 2 * _SAMPLE_BYTES:
        return True
    middle = len(data) // 2
    sample = data[middle : middle + _SAMPLE_BYTES]
    return len(zlib.compress(sample, 1)) < _WORTHWHILE * len(sample)
