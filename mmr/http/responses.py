"""What handlers return: each response knows how to write itself."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import attrs

from mmr.errors import MatrixError
from mmr.http.headers import describe_media
from mmr.http.hot import Replay
from mmr.http.ranges import ByteRange, etag_matches, parse_range
from mmr.http.request import MediaRequest, header_line
from mmr.http.streaming import (
    ReadableObject,
    ShortBody,
    send_iterator,
    send_object,
    send_slice,
)

NO_STORE = "no-store"
MEDIA_CACHE = "private, max-age=259200"
# A body up to this size is one write with its head; a larger one is cut, so that a
# slow client holds little of it.
_MAX_SINGLE_WRITE = 256 * 1024
_URL_SAFE = "!$&'()*+,;=:@/%-._~?"

Content = bytes | ReadableObject | AsyncIterator[bytes]
ExtraHeaders = Sequence[tuple[bytes, bytes]]


class Response(ABC):
    """An answer."""

    @abstractmethod
    async def send(self, request: MediaRequest) -> None:
        """Write it. The caller finishes the request."""


class JsonResponse(Response):
    """A JSON value, which no cache keeps (R6).

    ``<``, ``>`` and ``&`` are escaped as MMR does, so that no reader can take the
    body for HTML.
    """

    def __init__(
        self,
        body: Mapping[str, Any] | Sequence[Any],
        status: int = 200,
        headers: ExtraHeaders = (),
    ) -> None:
        self.body = body
        self.status = status
        self.headers = headers

    async def send(self, request: MediaRequest) -> None:
        """Write it."""
        text = json.dumps(self.body, separators=(",", ":"))
        for char in "<>&":
            text = text.replace(char, f"\\u{ord(char):04x}")
        lines = _JSON_LINES + b"".join(header_line(*pair) for pair in self.headers)
        request.respond(self.status, lines, text.encode("utf-8"))


_JSON_LINES = b"Content-Type: application/json\r\nCache-Control: no-store\r\n"


def error_response(error: MatrixError, headers: ExtraHeaders = ()) -> JsonResponse:
    """The one way in which errors become answers (R5); 429 says when to retry."""
    retry_after_ms = error.extra.get("retry_after_ms")
    if retry_after_ms is not None:
        seconds = -(-int(retry_after_ms) // 1000)
        headers = [*headers, (b"Retry-After", b"%d" % seconds)]
    return JsonResponse(error.body(), error.status, headers)


class BytesResponse(Response):
    """A body that is at hand, such as a page or a text."""

    def __init__(
        self,
        body: bytes,
        content_type: str,
        status: int = 200,
        cache_control: str = NO_STORE,
    ) -> None:
        self.body = body
        self.content_type = content_type
        self.status = status
        self.cache_control = cache_control

    async def send(self, request: MediaRequest) -> None:
        """Write it."""
        lines = header_line(b"Content-Type", self.content_type.encode("latin-1"))
        lines += header_line(b"Cache-Control", self.cache_control.encode("ascii"))
        request.respond(self.status, lines, self.body)


class EmptyResponse(Response):
    """204, with headers only."""

    def __init__(self, headers: ExtraHeaders = ()) -> None:
        self.headers = headers

    async def send(self, request: MediaRequest) -> None:
        """Write it."""
        request.respond(204, b"".join(header_line(*pair) for pair in self.headers), b"")


class RedirectResponse(Response):
    """307 to a place that we chose; nothing of the request may be in it (R7)."""

    def __init__(self, location: str) -> None:
        self.location = location

    async def send(self, request: MediaRequest) -> None:
        """Write it. What doesn't belong into a URL is percent-encoded."""
        location = quote(self.location, safe=_URL_SAFE).encode("ascii")
        lines = header_line(b"Location", location)
        lines += b"Referrer-Policy: no-referrer\r\nCache-Control: no-store\r\n"
        request.respond(307, lines, b"")


@attrs.frozen(kw_only=True)
class MediaResponse(Response):
    """Media, or any file: decides between 200, 206, 304 and 416, and streams.

    Build it only after authentication, freeze and quarantine (R6).

    Attributes:
        content_type: As stored; cleaned before it is sent.
        name: The file name to offer.
        size: Bytes in all; None when it isn't known.
        sha256: Hash in hex; the ETag. None for what has none.
        as_attachment: Never show it inline.
        source: The bytes: at hand, an object (closed in the end), an iterator, or a
            function that opens one of these, called only when bytes are sent.
        open_range_bytes: At most as many bytes for a range without an end; 0: no limit.
        cache_control: For quarantine images: ``no-store``.
        vary: The request header that the choice of these bytes depended on.
        replay: Gives the same bytes again later, for `mmr.http.hot`.
    """

    content_type: str | None
    name: str | None
    size: int | None
    source: Content | Callable[[], Awaitable[Content]]
    sha256: str | None = None
    as_attachment: bool = False
    open_range_bytes: int = 10 * 1024 * 1024
    cache_control: str = MEDIA_CACHE
    vary: str = ""
    replay: Replay | None = None

    async def send(self, request: MediaRequest) -> None:
        """Write what the client's conditions leave to be written."""
        etag = self.etag
        caching = self.caching_lines()
        if etag is not None:
            condition = request.header(b"if-none-match")
            if condition is not None and etag_matches(condition, etag):
                await self._discard()
                request.respond(304, caching, b"")
                return
        size = self.size or 0
        part = self._requested_part(request, etag)
        if part is not None and part.count == 0:
            await self._discard()
            await self._refuse_range(request)
            return
        lines = caching + self.media_lines()
        if part is None:
            await self._send_body(request, 200, lines, ByteRange(0, size))
        else:
            last = part.start + part.count - 1
            lines += b"Content-Range: bytes %d-%d/%d\r\n" % (
                part.start,
                last,
                size,
            )
            await self._send_body(request, 206, lines, part)

    async def reserve(self, request: MediaRequest, size_bytes: int) -> None:
        """Charge the caller for bytes about to be sent (R80); else let go of them.

        Raises:
            MatrixError: 429.
        """
        try:
            request.limits.reserve(request, size_bytes)
        except MatrixError:
            await self._discard()
            raise

    async def open(self) -> Content:
        """The bytes, or what gives them; the caller closes it (`close_content`)."""
        source = self.source
        return await source() if callable(source) else source

    @property
    def etag(self) -> bytes | None:
        """The hash, quoted."""
        return b'"%s"' % self.sha256.encode("ascii") if self.sha256 else None

    def caching_lines(self) -> bytes:
        """The header lines of every answer, 304 too."""
        lines = b"Cache-Control: %s\r\n" % self.cache_control.encode("ascii")
        if self.vary:
            lines += b"Vary: %s\r\n" % self.vary.encode("ascii")
        etag = self.etag
        return lines if etag is None else lines + b"ETag: %s\r\n" % etag

    def media_lines(self) -> bytes:
        """The header lines that go with bytes."""
        sent_type, disposition = describe_media(
            self.content_type, self.name, self.as_attachment
        )
        lines = b"Content-Type: %s\r\nContent-Disposition: %s\r\n" % (
            sent_type.encode("ascii"),
            disposition.encode("ascii"),
        )
        if self.size and self._is_seekable:
            lines += b"Accept-Ranges: bytes\r\n"
        return lines

    @property
    def is_hot(self) -> bool:
        """Whether the whole answer is at hand, in one write, and can be given again."""
        return (
            self.replay is not None
            and self.sha256 is not None
            and isinstance(self.source, bytes)
            and len(self.source) == self.size
            and len(self.source) <= _MAX_SINGLE_WRITE
        )

    @property
    def _is_seekable(self) -> bool:
        return not isinstance(self.source, AsyncIterator)

    def _requested_part(
        self, request: MediaRequest, etag: bytes | None
    ) -> ByteRange | None:
        value = request.header(b"range")
        if value is None or request.method != b"GET" or not self.size:
            return None
        if_range = request.header(b"if-range")
        if not self._is_seekable or (if_range is not None and if_range != etag):
            return None
        return parse_range(value, self.size, self.open_range_bytes)

    async def _refuse_range(self, request: MediaRequest) -> None:
        error = MatrixError(416, "M_UNKNOWN", "out of range", "M_BAD_REQUEST")
        headers = [(b"Content-Range", b"bytes */%d" % (self.size or 0))]
        await error_response(error, headers).send(request)

    async def _send_body(
        self, request: MediaRequest, status: int, lines: bytes, part: ByteRange
    ) -> None:
        if request.method == b"HEAD":
            await self._discard()
            request.start(status, lines, self.size)
            return
        await self.reserve(request, part.count)
        content = await self.open()
        if isinstance(content, bytes):
            body = self._cut(content, part)
            if len(body) <= _MAX_SINGLE_WRITE:
                request.respond(status, lines, body)
            else:
                request.start(status, lines, len(body))
                await send_slice(request, body)
            return
        length = None if self.size is None else part.count
        try:
            if request.start(status, lines, length):
                if isinstance(content, AsyncIterator):
                    await send_iterator(request, content, length)
                else:
                    await send_object(request, content, part.start, part.count)
        finally:
            await close_content(content)

    def _cut(self, content: bytes, part: ByteRange) -> bytes:
        """The part of bytes at hand; all of them where the size wasn't known."""
        if self.size is None or part.count == len(content):
            return content
        if len(content) != self.size:
            raise ShortBody(f"{len(content)} instead of {self.size} bytes")
        return content[part.start : part.start + part.count]

    async def _discard(self) -> None:
        """Close a source that was opened in vain."""
        if not callable(self.source):
            await close_content(self.source)


async def close_content(content: Content) -> None:
    """Let go of what `MediaResponse.open` gave."""
    if isinstance(content, bytes):
        return
    if isinstance(content, AsyncIterator):
        closing = getattr(content, "aclose", None)
        if closing is not None:
            await closing()
    else:
        await content.close()
