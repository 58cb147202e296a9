"""One layer of compression, expanded in pieces (R17)."""

from __future__ import annotations

import zlib

from mmr.http.guard.errors import FetchFailed, Step
from mmr.http.guard.head import Headers

PIECE_BYTES = 256 * 1024
_CODINGS = {"gzip", "x-gzip", "deflate"}


def content_coding(headers: Headers) -> str:
    """The coding of a body; ``identity`` when there is none."""
    text = ",".join(headers.get("content-encoding", ()))
    return text.strip().lower() or "identity"


class Expander:
    """Expands a gzip or deflate body without ever holding more than a piece of it.

    Args:
        coding: From `content_coding`.

    Raises:
        FetchFailed: for any other coding, and for two layers.
    """

    def __init__(self, coding: str) -> None:
        if coding not in _CODINGS:
            raise FetchFailed(Step.BODY, f"content coding {coding[:40]!r}")
        self._is_gzip = coding != "deflate"
        self._stream: zlib._Decompress | None = None
        self._rest = b""

    @property
    def has_more(self) -> bool:
        """Whether another piece can be had without new input."""
        return bool(self._rest) and not self.is_complete

    @property
    def is_complete(self) -> bool:
        """Whether the compressed stream has ended. What follows is ignored."""
        return self._stream is not None and self._stream.eof

    def expand(self, data: bytes = b"") -> bytes:
        """The next piece, with new input or with what is left of the last.

        Raises:
            FetchFailed: the stream is broken.
        """
        data = self._rest + data
        if not data or self.is_complete:
            return b""
        if self._stream is None:
            self._stream = zlib.decompressobj(self._window_bits(data))
        try:
            piece = self._stream.decompress(data, PIECE_BYTES)
        except zlib.error as error:
            raise FetchFailed(Step.BODY, "broken compression") from error
        self._rest = self._stream.unconsumed_tail
        return piece

    def _window_bits(self, data: bytes) -> int:
        if self._is_gzip:
            return 16 + zlib.MAX_WBITS
        # Some servers send deflate without the zlib header that belongs around it.
        has_header = data[0] & 0x0F == 8 and (
            len(data) < 2 or int.from_bytes(data[:2]) % 31 == 0
        )
        return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
