"""The body of a guarded response between its connection and its reader."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.web.http import _ChunkedTransferDecoder, _MalformedChunkedDataError

from mmr.http.guard.errors import FetchFailed, Step
from mmr.http.guard.head import ResponseHead

# What may wait in memory for a slow reader; also the largest batch, give or take one
# read of the socket.
BUFFER_BYTES = 256 * 1024
# What chunk lines may cost beside what they frame, so that extensions end (R16).
_FRAMING_FACTOR = 8
_FRAMING_BYTES = 64 * 1024


class IncomingBody:
    """Finds the end of a body, and hands its bytes on in batches.

    Args:
        head: Says how the body ends.
        pause: Stops the connection from reading.
        resume: Lets it read again.
        give_up: Called when the reader stops waiting: the connection is of no use.

    Attributes:
        received: Bytes of body so far.
        is_paused: Whether the connection waits for the reader.
        is_complete: The body ended as it should.
        rest: What came behind the end.
    """

    def __init__(
        self,
        head: ResponseHead,
        pause: Callable[[], None],
        resume: Callable[[], None],
        give_up: Callable[[], None],
    ) -> None:
        self.received = 0
        self.is_paused = False
        self.is_complete = head.length == 0
        self.rest = b""
        self._head = head
        self._pause = pause
        self._resume = resume
        self._give_up = give_up
        self._raw = 0
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._failure: FetchFailed | None = None
        self._waiter: Deferred[None] | None = None
        self._chunks: _ChunkedTransferDecoder | None = None
        if head.is_chunked:
            # Strict, and its lines and trailers are bounded.
            self._chunks = _ChunkedTransferDecoder(self._add, self._end)

    async def take(self) -> bytes:
        """Everything that has arrived, or the next bytes; empty at the end.

        Raises:
            FetchFailed: the body broke off. Bytes before that are given out first.
        """
        while not self._buffered:
            if self._failure is not None:
                raise self._failure
            if self.is_complete:
                return b""
            self._waiter = Deferred(lambda _: self._give_up())
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._empty()

    def receive(self, data: bytes) -> None:
        """Take bytes from the connection. The reader hears of them by `wake`.

        Raises:
            FetchFailed: broken chunks.
        """
        self._raw += len(data)
        if self._chunks is not None:
            try:
                self._chunks.dataReceived(data)
            except _MalformedChunkedDataError as error:
                raise FetchFailed(Step.BODY, "malformed chunk") from error
            if self._raw > _FRAMING_FACTOR * self.received + _FRAMING_BYTES:
                raise FetchFailed(Step.BODY, "more framing than content")
        elif self._head.length is None:
            self._add(data)
        else:
            missing = self._head.length - self.received
            self._add(data[:missing])
            if len(data) >= missing:
                self._end(data[missing:])

    def wake(self) -> None:
        """Let a waiting reader look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.called:
            waiter.callback(None)

    def connection_ended(self, is_clean: bool, reason: str) -> None:
        """The connection is gone: the end of some bodies, the failure of others."""
        if self.is_complete or self._failure is not None:
            return
        if is_clean and self._head.length is None and self._chunks is None:
            self.is_complete = True
            self.wake()
        elif self._head.length is not None:
            counts = f"after {self.received} of {self._head.length} bytes"
            self.fail(FetchFailed(Step.BODY, f"broke off {counts} ({reason})"))
        else:
            counts = f"after {self.received} bytes, before its end"
            self.fail(FetchFailed(Step.BODY, f"broke off {counts} ({reason})"))

    def fail(self, failure: FetchFailed) -> None:
        """The reader gets the failure once it has taken what came before."""
        if not self.is_complete and self._failure is None:
            self._failure = failure
            self.wake()

    def _add(self, data: bytes) -> None:
        if data:
            self.received += len(data)
            self._pieces.append(data)
            self._buffered += len(data)
            if self._buffered >= BUFFER_BYTES and not self.is_paused:
                self.is_paused = True
                self._pause()

    def _end(self, rest: bytes) -> None:
        self.rest = rest
        self.is_complete = True
        # The connection is no longer ours to hold up.
        self._read_on()

    def _empty(self) -> bytes:
        batch = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._buffered = [], 0
        self._read_on()
        return batch

    def _read_on(self) -> None:
        if self.is_paused:
            self.is_paused = False
            self._resume()
