"""``GET …/local_copy/…``: media of another server becomes one of ours (§8.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs

from mmr.datastores.base import StoredObject
from mmr.errors import bad_request, not_found, unexpected
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.media.content import Content
from mmr.media.downloads import Downloads
from mmr.media.uploads import UploadMeta, Uploads, check_length
from mmr.rest.media_path import parse_media_query
from mmr.types import Access

_WAIT_MS = 30_000
_PIECE_BYTES = 256 * 1024


class LocalCopyServlet:
    """Copies by the upload way: its limits, quotas and checks hold (R86)."""

    def __init__(
        self, downloads: Downloads, content: Content, uploads: Uploads
    ) -> None:
        self._downloads = downloads
        self._content = content
        self._uploads = uploads

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route(
                methods=("GET",),
                path=f"/_matrix/media/{part}/local_copy/:server/:media_id",
                action="local_copy",
                access=Access.USER,
                handler=self.on_get,
            )
            for part in ("unstable", "unstable/io.t2bot.media")
        ]

    async def on_get(
        self, request: MediaRequest, server: str, media_id: str
    ) -> Response:
        """The address of the caller's new copy; of an earlier one, if there is one."""
        query = parse_media_query(request, server, media_id)
        if query.mxc.origin == request.host:
            raise bad_request("Attempted to clone media to the same origin")
        record = await self._downloads.find_record(
            attrs.evolve(query, wait_ms=_WAIT_MS)
        )
        if record.quarantined:
            raise not_found()
        check_length(request.domain.uploads, record.size_bytes)
        meta = UploadMeta(
            user_id=request.requester.user_id or "",
            content_type=record.content_type,
            upload_name=record.upload_name,
        )
        stored = await self._content.open_object(record)
        try:
            mxc = await self._uploads.upload(request.domain, meta, _ObjectBody(stored))
        finally:
            await stored.close()
        return JsonResponse({"content_uri": str(mxc)})


class _ObjectBody:
    """A stored object, as if somebody sent it."""

    def __init__(self, stored: StoredObject) -> None:
        self._stored = stored

    @property
    def length(self) -> int:
        return self._stored.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        offset = 0
        while offset < self._stored.size:
            data = await self._stored.read(offset, _PIECE_BYTES)
            if not data:
                raise unexpected()
            offset += len(data)
            yield data
