"""Media in the envelope that servers get (spec, "Federation: content repository")."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import attrs

from mmr.http.headers import describe_media
from mmr.http.request import MediaRequest
from mmr.http.responses import Content, MediaResponse, Response, close_content
from mmr.http.streaming import send_iterator, send_object, send_slice


@attrs.frozen
class MultipartResponse(Response):
    """Two parts: an empty JSON object, then the media. No ranges.

    Attributes:
        media: What clients would get; its source is sent whole.
    """

    media: MediaResponse

    async def send(self, request: MediaRequest) -> None:
        """Write it, with the length where that is known: a cut is noticed then."""
        media = self.media
        await media.reserve(request, media.size or 0)
        # Before the head is written: a missing object can still be told then.
        content = await media.open()
        try:
            head, tail, lines = self._frame()
            size = media.size
            length = None if size is None else len(head) + size + len(tail)
            request.start(200, lines, length)
            await request.write(head)
            await self._send_content(request, content)
            await request.write(tail)
        finally:
            await close_content(content)

    def _frame(self) -> tuple[bytes, bytes, bytes]:
        """What stands before and after the media, and the header lines."""
        # Random, so that no upload can hold it.
        boundary = secrets.token_hex(24).encode("ascii")
        media = self.media
        sent_type, disposition = describe_media(
            media.content_type, media.name, media.as_attachment
        )
        head = (
            b"--%s\r\nContent-Type: application/json\r\n\r\n{}\r\n"
            b"--%s\r\nContent-Type: %s\r\nContent-Disposition: %s\r\n\r\n"
        ) % (boundary, boundary, sent_type.encode(), disposition.encode())
        lines = (
            b"Content-Type: multipart/mixed; boundary=%s\r\n"
            b"Content-Disposition: attachment; filename=file\r\n"
            b"Cache-Control: %s\r\n"
        ) % (boundary, media.cache_control.encode())
        return head, b"\r\n--%s--\r\n" % boundary, lines

    async def _send_content(self, request: MediaRequest, content: Content) -> None:
        size = self.media.size
        if isinstance(content, bytes):
            await send_slice(request, content)
        elif isinstance(content, AsyncIterator):
            await send_iterator(request, content, size)
        else:
            await send_object(request, content, 0, size or 0)
