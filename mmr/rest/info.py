"""``GET …/info/…``: what is known of a media (MSC2380, mmr-http-api.md §8.7)."""

from __future__ import annotations

import attrs

from mmr.errors import not_found
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.media.downloads import Downloads
from mmr.media.info import MediaInfo
from mmr.rest.media_path import parse_media_query
from mmr.types import Access

_WAIT_MS = 30_000


class InfoServlet:
    """Tells type, size, hash, dimensions and thumbnails."""

    def __init__(self, downloads: Downloads, info: MediaInfo) -> None:
        self._downloads = downloads
        self._info = info

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route(
                methods=("GET",),
                path=f"/_matrix/media/{prefix}/info/:server/:media_id",
                action="info",
                access=Access.USER,
                handler=self.on_get,
            )
            for prefix in ("unstable", "unstable/io.t2bot.media")
        ]

    async def on_get(
        self, request: MediaRequest, server: str, media_id: str
    ) -> Response:
        """The information, as far as it can be had."""
        query = parse_media_query(request, server, media_id)
        record = await self._downloads.find_record(
            attrs.evolve(query, wait_ms=_WAIT_MS)
        )
        if record.quarantined:
            raise not_found()
        return JsonResponse(await self._info.describe(request.domain, record))
