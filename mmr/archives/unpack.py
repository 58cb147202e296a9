"""Unpacking gzip from somebody else, a piece at a time (R77)."""

from __future__ import annotations

import zlib

MAX_RATIO = 200
"""Times that the whole may be larger than what it was packed into."""
FREE_BYTES = 1024**3
"""Bytes that may come out of anything: the ratio counts from here."""

_INPUT_BYTES = 256 * 1024
_GZIP = 31  # zlib's word for: with gzip's header and checksum.


class ArchiveError(Exception):
    """A part can't be read, or not to its end; the text says why."""


class Unpacker:
    """Bytes of one gzip file in, bytes of what is in it out.

    Attributes:
        packed: Bytes taken in so far.
        unpacked: Bytes given out so far.
    """

    def __init__(self) -> None:
        self.packed = 0
        self.unpacked = 0
        self._gzip = zlib.decompressobj(_GZIP)
        self._fed = memoryview(b"")
        # What is unpacked next of it: zlib copies what it leaves over.
        self._input: bytes | memoryview = b""
        # The last output was as much as was asked for: there may be more inside.
        self._is_held = False

    @property
    def wants_input(self) -> bool:
        """Whether there is nothing to give out before there is more to take in."""
        return not (self._input or self._fed or self._is_held)

    def feed(self, data: bytes) -> None:
        """Take in what comes next. To be called when it wants some."""
        self.packed += len(data)
        self._fed = memoryview(bytes(self._fed) + data if self._fed else data)

    def read(self, most: int) -> bytes:
        """Give out what comes next; nothing when it wants input.

        Raises:
            ArchiveError: it is damaged, or unpacks to suspiciously much.
        """
        try:
            data = self._read(most)
        except zlib.error as error:
            raise ArchiveError(f"it is no gzip file, or damaged: {error}") from error
        self.unpacked += len(data)
        if self.unpacked > FREE_BYTES + MAX_RATIO * self.packed:
            raise ArchiveError(
                f"it unpacks to more than {MAX_RATIO} times its size: {self.unpacked} "
                f"bytes out of {self.packed}"
            )
        return data

    def _read(self, most: int) -> bytes:
        while not self.wants_input:
            if not (self._input or self._is_held):
                self._input = self._fed[:_INPUT_BYTES]
                self._fed = self._fed[_INPUT_BYTES:]
            if self._gzip.eof:
                # gzip files may follow one another; some are padded with zeros.
                self._input = bytes(self._input).lstrip(b"\0")
                if not self._input:
                    continue
                self._gzip = zlib.decompressobj(_GZIP)
            data = self._gzip.decompress(self._input, most)
            self._is_held = len(data) == most and not self._gzip.eof
            self._input = self._gzip.unconsumed_tail or self._gzip.unused_data
            if data:
                return data
        return b""

    def finish(self) -> None:
        """Nothing more comes.

        Raises:
            ArchiveError: something is missing.
        """
        if not self._gzip.eof:
            raise ArchiveError(f"it ends too early, after {self.packed} bytes")
