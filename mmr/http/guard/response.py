"""The response of a guarded request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from mmr.http.guard.body import IncomingBody
from mmr.http.guard.errors import FetchFailed, Step
from mmr.http.guard.expanding import Expander, content_coding
from mmr.http.guard.head import Headers, ResponseHead
from mmr.http.guard.limits import Purpose
from mmr.http.guard.urls import GuardedUrl


class GuardedResponse:
    """A status, headers, and a body that is still arriving.

    It holds a slot of the budget until its body has ended or is given up: read it to
    the end, call `abort`, or use it with ``async with``.

    Args:
        head: What has arrived.
        body: What arrives.
        purpose: The limits.
        give_up: Hangs up.
        done: Called once, at the end.
        url: Where it came from, when a URL was asked for.

    Attributes:
        status: HTTP status.
        headers: Values in order, by lower-case name.
        length: The announced length of the body as it is sent, if any.
    """

    def __init__(
        self,
        head: ResponseHead,
        body: IncomingBody,
        purpose: Purpose,
        *,
        give_up: Callable[[], None],
        done: Callable[[], None],
        url: GuardedUrl | None = None,
    ) -> None:
        self.status = head.status
        self.headers: Headers = head.headers
        self.length = head.length
        self.url = url
        self._incoming = body
        self._give_up = give_up
        self._done = done
        self._max_bytes = purpose.max_bytes
        self._count = 0
        self._is_over = False
        self._failure: FetchFailed | None = None
        self._expander: Expander | None = None
        self._check_head(purpose)

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return self.headers.get(name.lower(), [None])[0]

    @property
    def body(self) -> AsyncIterator[bytes]:
        """The body in batches of up to about 256 KiB; never an empty one.

        Raises:
            FetchFailed: while iterating. Past the limit the connection is aborted.
        """
        return self

    def __aiter__(self) -> GuardedResponse:
        return self

    async def __anext__(self) -> bytes:
        """The next batch."""
        if self._failure is not None:
            raise self._failure
        if self._is_over:
            raise StopAsyncIteration
        try:
            batch = await self._next_batch()
        except FetchFailed as failure:
            self._fail(failure)
            raise
        except BaseException:
            self.abort()
            raise
        if not batch:
            self._finish()
            raise StopAsyncIteration
        return batch

    async def read(self, max_bytes: int) -> bytes:
        """The whole body.

        Args:
            max_bytes: The longest that is welcome, beside the limit of the purpose.

        Raises:
            FetchFailed: with `Step.TOO_LARGE` or `Step.BODY`.
        """
        if self._max_bytes is None or max_bytes < self._max_bytes:
            self._max_bytes = max_bytes
            self._check_length()
        return b"".join([batch async for batch in self])

    def abort(self) -> None:
        """Give the rest up; the connection is not used again."""
        if not self._is_over:
            self._give_up()
            self._failure = self._failure or FetchFailed(Step.BODY, "given up by us")
            self._finish()

    async def __aenter__(self) -> GuardedResponse:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.abort()

    def _check_head(self, purpose: Purpose) -> None:
        # Such a body fails when it is read, not here: the status may say enough.
        coding = content_coding(self.headers)
        try:
            if coding != "identity":
                if not purpose.expands:
                    reason = f"content coding {coding[:40]!r} was not asked for"
                    raise FetchFailed(Step.BODY, reason)
                self._expander = Expander(coding)
            self._check_length()
        except FetchFailed as failure:
            self._fail(failure)

    def _check_length(self) -> None:
        if self._max_bytes is not None and (self.length or 0) > self._max_bytes:
            self._fail(self._too_large())

    async def _next_batch(self) -> bytes:
        if self._expander is None:
            return self._counted(await self._incoming.take())
        expander, piece = self._expander, b""
        while not piece:
            if expander.has_more:
                piece = expander.expand()
                continue
            data = await self._incoming.take()
            if not data:
                if self._incoming.received and not expander.is_complete:
                    raise FetchFailed(Step.BODY, "compression broke off")
                return b""
            self._check_wire()
            piece = expander.expand(data)
        return self._counted(piece)

    def _counted(self, batch: bytes) -> bytes:
        self._count += len(batch)
        if self._max_bytes is not None and self._count > self._max_bytes:
            raise self._too_large()
        return batch

    def _check_wire(self) -> None:
        # What follows a compressed stream expands to nothing, and still is too long.
        if self._max_bytes is not None and self._incoming.received > self._max_bytes:
            raise self._too_large()

    def _too_large(self) -> FetchFailed:
        return FetchFailed(Step.TOO_LARGE, f"more than {self._max_bytes} bytes")

    def _fail(self, failure: FetchFailed) -> None:
        self._failure = self._failure or failure
        self.abort()

    def _finish(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._done()
