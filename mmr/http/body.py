"""The body of a request, as it arrives."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from twisted.internet.defer import Deferred

from mmr.errors import bad_request, too_large

# Handlers hand each batch to a thread: few large ones are cheaper than many small.
BATCH_BYTES = 256 * 1024
LARGE_PIECE_BYTES = 128 * 1024
MAX_BUFFERED_BYTES = 2 * 1024 * 1024
# What may wait in memory before anybody decided that the body is welcome (R40).
MAX_UNREAD_BYTES = 64 * 1024
MAX_JSON_BYTES = 64 * 1024


class ClientGone(Exception):
    """The client left before the exchange was over."""


def _nothing() -> None:
    """An empty body has nobody to wake."""


class RequestBody(AsyncIterator[bytes]):
    """Iterates over a request's bytes in batches; the socket pauses when it lags.

    Args:
        length: The declared length; None for a chunked body.
        wanted: Called when the reader takes or awaits bytes, so that the connection
            is read again.

    Attributes:
        received: Bytes that have arrived so far.
    """

    def __init__(
        self, length: int | None, wanted: Callable[[], None] = _nothing
    ) -> None:
        self.length = length
        self.received = 0
        self.is_complete = length == 0
        self.is_wanted = False
        self._wanted = wanted
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._is_ignored = False
        self._max_bytes: int | None = None
        self._failure: Exception | None = None
        self._waiter: Deferred[None] | None = None

    def limit(self, max_bytes: int) -> None:
        """Refuse a longer body: at once if it says so itself, else where it passes.

        Raises:
            MatrixError: 413, when the length is declared and too large (R65).
        """
        self._max_bytes = max_bytes
        if (self.length or self.received) > max_bytes:
            self.fail(too_large())
            raise too_large()

    def __aiter__(self) -> RequestBody:
        return self

    async def __anext__(self) -> bytes:
        """The next batch.

        Raises:
            ClientGone: the client left, or sent less than it declared.
            MatrixError: 413 past the limit; 400 for broken chunks.
        """
        self.is_wanted = True
        while True:
            if self._failure is not None:
                raise self._failure
            if self._is_batch or (self.is_complete and self._buffered):
                return self._take()
            if self.is_complete:
                raise StopAsyncIteration
            self._waiter = Deferred()
            self._wanted()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def json_object(self, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
        """The whole body as a JSON object (R62); an empty body is an empty object.

        Raises:
            MatrixError: 413 or 400.
        """
        self.limit(max_bytes)
        content = b"".join([batch async for batch in self])
        if not content:
            return {}
        try:
            value = json.loads(content.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise bad_request("The body is not JSON", "M_NOT_JSON") from error
        if not isinstance(value, dict):
            raise bad_request("The body is not a JSON object", "M_BAD_JSON")
        return value

    @property
    def has_failed(self) -> bool:
        """Whether what comes of it is of no use."""
        return self._failure is not None

    @property
    def is_full(self) -> bool:
        """Whether the connection should wait before it reads more."""
        if self._is_ignored:
            return self.received >= MAX_UNREAD_BYTES
        limit = MAX_BUFFERED_BYTES if self.is_wanted else MAX_UNREAD_BYTES
        return self._buffered >= limit or self._failure is not None

    @property
    def _is_batch(self) -> bool:
        pieces = self._pieces
        return self._buffered >= BATCH_BYTES or (
            bool(pieces) and len(pieces[0]) >= LARGE_PIECE_BYTES
        )

    def ignore(self) -> None:
        """Nobody will read it: keep nothing of it."""
        self._is_ignored = True
        self._drop()

    def deliver(self, data: bytes) -> None:
        """Take bytes from the connection."""
        self.received += len(data)
        if self._failure is not None or self._is_ignored:
            return
        if self._max_bytes is not None and self.received > self._max_bytes:
            self.fail(too_large())
            return
        self._pieces.append(data)
        self._buffered += len(data)
        if self._is_batch:
            self._wake()

    def finish(self) -> None:
        """All bytes have arrived."""
        self.is_complete = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """No more bytes will be given out; the reader gets the error."""
        self._failure = error
        self._drop()
        self._wake()

    def _take(self) -> bytes:
        if len(self._pieces[0]) >= LARGE_PIECE_BYTES:
            # As it is: joining would cost as much as reading it again.
            batch = self._pieces.pop(0)
            self._buffered -= len(batch)
        else:
            batch = b"".join(self._pieces)
            self._drop()
        self._wanted()
        return batch

    def _drop(self) -> None:
        self._pieces = []
        self._buffered = 0

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.called:
            waiter.callback(None)
