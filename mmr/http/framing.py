"""Where a request's body ends on its connection."""

from __future__ import annotations

from twisted.web.http import _ChunkedTransferDecoder, _MalformedChunkedDataError

from mmr.errors import MatrixError, bad_request
from mmr.http.body import RequestBody


def malformed_chunk() -> MatrixError:
    """400: the body's chunks can't be told apart."""
    return bad_request("Malformed chunk")


class Framing:
    """Hands a body's bytes to their reader and finds its end.

    Chunks are read by Twisted's decoder: it is as strict as R63 asks, and its lines
    and trailers are bounded.

    Args:
        body: Where the bytes go.

    Attributes:
        is_broken: The chunks make no sense; nothing that follows does.
    """

    def __init__(self, body: RequestBody) -> None:
        self.body = body
        self.is_broken = False
        self._rest: bytes | None = None
        self._decoder: _ChunkedTransferDecoder | None = None
        if body.length is None:
            self._decoder = _ChunkedTransferDecoder(body.deliver, self._end)

    def receive(self, data: bytes) -> bytes | None:
        """Take bytes.

        Returns:
            What follows the body, once it has ended; None before that.
        """
        if self.is_broken:
            return None
        if self._decoder is not None:
            self._receive_chunks(self._decoder, data)
        else:
            self._receive_plain(data)
        return self._rest

    def _receive_plain(self, data: bytes) -> None:
        body = self.body
        assert body.length is not None
        missing = body.length - body.received
        if len(data) < missing:
            body.deliver(data)
        else:
            body.deliver(data[:missing])
            self._rest = data[missing:]

    def _receive_chunks(self, decoder: _ChunkedTransferDecoder, data: bytes) -> None:
        try:
            decoder.dataReceived(data)
        except _MalformedChunkedDataError:
            self.is_broken = True
            self.body.fail(malformed_chunk())

    def _end(self, rest: bytes) -> None:
        self._rest = rest
