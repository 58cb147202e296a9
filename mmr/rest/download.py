"""``GET …/download/…``: the media itself (mmr-http-api.md §5)."""

from __future__ import annotations

from mmr.errors import not_found
from mmr.http.request import MediaRequest
from mmr.http.responses import MediaResponse, Response
from mmr.http.routing import Route
from mmr.media.content import Content
from mmr.media.downloads import Downloads
from mmr.media.placeholder import Placeholder
from mmr.media.serving import Serving
from mmr.media.transfer import Transfer
from mmr.rest.media_path import MSC1902_PREFIXES, parse_media_query
from mmr.rest.placeholder import placeholder_response
from mmr.rest.redirect import Redirects
from mmr.rest.replay import DownloadReplay
from mmr.storage.media import MediaRecord
from mmr.thumbnailing.quarantine_image import DOWNLOAD_SIDE
from mmr.types import Access

# Names that stand for "none": Go's base name of nothing, and, of files that no user of
# ours uploaded, what MMR gives to those that came without one.
_NO_NAMES = frozenset({"", "."})
_NO_REMOTE_NAME = "download"


class DownloadServlet:
    """Serves media to clients, on the authenticated and on the older paths."""

    def __init__(
        self,
        downloads: Downloads,
        content: Content,
        placeholder: Placeholder,
        redirects: Redirects,
        serving: Serving,
    ) -> None:
        self._downloads = downloads
        self._content = content
        self._placeholder = placeholder
        self._redirects = redirects
        self._serving = serving

    def routes(self) -> list[Route]:
        """The routes. The older paths are frozen by record, not by route (MSC3916)."""
        routes = []
        for prefix, access in (
            ("/_matrix/media/r0", Access.OPTIONAL),
            ("/_matrix/media/v1", Access.OPTIONAL),
            ("/_matrix/media/v3", Access.OPTIONAL),
            ("/_matrix/client/v1/media", Access.USER_OR_GUEST),
            *((prefix, Access.OPTIONAL) for prefix in MSC1902_PREFIXES),
        ):
            for path in ("/:server/:media_id", "/:server/:media_id/:filename"):
                routes.append(
                    Route(
                        methods=("GET", "HEAD"),
                        path=f"{prefix}/download{path}",
                        action="download",
                        access=access,
                        handler=self.on_get,
                    )
                )
        return routes

    async def on_get(
        self,
        request: MediaRequest,
        server: str,
        media_id: str,
        filename: str | None = None,
    ) -> Response:
        """The bytes, a part of them, or 304."""
        query = parse_media_query(request, server, media_id)
        as_attachment = request.query.boolean(
            "org.matrix.msc2702.asAttachment",
            False,
            "asAttachment flag does not appear to be a boolean",
        )
        found = self._downloads.warm(query) or await self._downloads.find(query)
        self._serving.begin(request, query.mxc, found)
        if isinstance(found, Transfer):
            return MediaResponse(
                content_type=found.content_type,
                name=filename or found.name,
                size=found.size,
                as_attachment=as_attachment,
                source=found.reader(),
            )
        if found.quarantined:
            return await self._quarantined(request)
        self._downloads.served(found)
        source = self._content.source(found)
        redirect = await self._redirects.find(
            request,
            found,
            content_type=found.content_type,
            name=filename or _stored_name(found),
            as_attachment=as_attachment,
            is_warm=isinstance(source, bytes),
        )
        if redirect is not None:
            return redirect
        return MediaResponse(
            content_type=found.content_type,
            name=filename or _stored_name(found),
            size=found.size_bytes,
            sha256=found.sha256_hash,
            as_attachment=as_attachment,
            source=source,
            replay=DownloadReplay(self._downloads, self._content, query, found),
            open_range_bytes=request.domain.downloads.default_range_chunk_size_bytes,
        )

    async def _quarantined(self, request: MediaRequest) -> Response:
        if not request.domain.quarantine.replace_downloads:
            raise not_found()
        return placeholder_response(
            await self._placeholder.draw(
                request.domain.quarantine, DOWNLOAD_SIDE, DOWNLOAD_SIDE
            )
        )


def _stored_name(record: MediaRecord) -> str | None:
    name = record.upload_name
    if name in _NO_NAMES or (name == _NO_REMOTE_NAME and not record.user_id):
        return None
    return name
