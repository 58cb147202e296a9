"""``GET …/thumbnail/…`` (mmr-http-api.md §6)."""

from __future__ import annotations

import re

import attrs

from mmr.errors import bad_request, invalid_param, missing_param, not_found
from mmr.http.request import MediaRequest
from mmr.http.responses import MediaResponse, Response
from mmr.http.routing import Route
from mmr.media.content import Content
from mmr.media.downloads import Downloads, MediaQuery
from mmr.media.placeholder import Placeholder
from mmr.media.serving import Serving
from mmr.media.thumbnails import Thumbnails
from mmr.media.variants import ThumbnailQuery
from mmr.rest.media_path import MSC1902_PREFIXES, parse_media_query
from mmr.rest.placeholder import placeholder_response
from mmr.rest.redirect import Redirects
from mmr.rest.replay import ThumbnailReplay
from mmr.rest.second_try import SecondTry
from mmr.storage.media import MediaRecord
from mmr.storage.thumbnails import ThumbnailKey, ThumbnailRecord
from mmr.types import Access, Method

_EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
}

_ZERO = re.compile(rb"q *= *0(\.0*)?")


@attrs.frozen(slots=True)
class _Shown:
    """What is asked for: the media, and which picture of it."""

    query: MediaQuery
    record: MediaRecord
    key: ThumbnailKey


class ThumbnailServlet:
    """Serves thumbnails to clients."""

    def __init__(
        self,
        downloads: Downloads,
        thumbnails: Thumbnails,
        content: Content,
        placeholder: Placeholder,
        redirects: Redirects,
        serving: Serving,
    ) -> None:
        self._downloads = downloads
        self._thumbnails = thumbnails
        self._content = content
        self._placeholder = placeholder
        self._redirects = redirects
        self._serving = serving

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route(
                methods=("GET",),
                path=f"{prefix}/thumbnail/:server/:media_id",
                action="thumbnail",
                access=access,
                handler=self.on_get,
            )
            for prefix, access in (
                ("/_matrix/media/r0", Access.OPTIONAL),
                ("/_matrix/media/v1", Access.OPTIONAL),
                ("/_matrix/media/v3", Access.OPTIONAL),
                ("/_matrix/client/v1/media", Access.USER_OR_GUEST),
                *((prefix, Access.OPTIONAL) for prefix in MSC1902_PREFIXES),
            )
        ]

    async def on_get(
        self, request: MediaRequest, server: str, media_id: str
    ) -> Response:
        """The thumbnail, made now if it is the first time."""
        wanted = parse_thumbnail_query(request)
        query = parse_media_query(request, server, media_id)
        record = self._downloads.warm(query)
        if record is None:
            record = await self._downloads.find_record(query)
        self._serving.begin(request, query.mxc, record)
        key = self._thumbnails.key(request.domain, record, wanted)
        if record.quarantined:
            if not request.domain.quarantine.replace_thumbnails:
                raise not_found()
            return placeholder_response(
                await self._placeholder.draw(
                    request.domain.quarantine, key.width, key.height
                )
            )
        thumbnail = self._thumbnails.warm(key) or await self._thumbnails.get(
            request.domain, request.requester, record, key
        )
        self._downloads.served(record)
        shown = _Shown(query, record, key)
        response = await self._answer(request, shown, thumbnail)
        if not (isinstance(response, MediaResponse) and callable(response.source)):
            return response

        async def drawn_again() -> Response:
            again = await self._thumbnails.replace(
                request.domain, request.requester, record, thumbnail
            )
            return await self._answer(request, shown, again)

        return SecondTry(response, drawn_again)

    async def _answer(
        self, request: MediaRequest, shown: _Shown, thumbnail: ThumbnailRecord
    ) -> Response:
        name = f"thumbnail.{_EXTENSIONS.get(thumbnail.content_type, 'bin')}"
        source = self._content.source(thumbnail)
        redirect = await self._redirects.find(
            request,
            thumbnail,
            content_type=thumbnail.content_type,
            name=name,
            is_warm=isinstance(source, bytes),
        )
        if redirect is not None:
            return redirect
        return MediaResponse(
            content_type=thumbnail.content_type,
            name=name,
            size=thumbnail.size_bytes,
            # Very old rows have no hash, and so no ETag.
            sha256=thumbnail.sha256_hash or None,
            source=source,
            replay=ThumbnailReplay(
                self._downloads,
                self._thumbnails,
                self._content,
                shown.query,
                shown.record,
                shown.key,
                thumbnail,
            ),
            open_range_bytes=request.domain.downloads.default_range_chunk_size_bytes,
            vary="Accept" if request.domain.thumbnails.webp else "",
        )


def parse_thumbnail_query(request: MediaRequest) -> ThumbnailQuery:
    """The size that a client wishes for.

    Raises:
        MatrixError: 400, also for an unknown method (D7).
    """
    query = request.query
    if not query.text("width") or not query.text("height"):
        raise missing_param("Width and height are required")
    width = query.integer("width", 0, "Width does not appear to be an integer")
    height = query.integer("height", 0, "Height does not appear to be an integer")
    if width <= 0 or height <= 0:
        raise bad_request("Width and height must be greater than zero")
    names = ("animated", "org.matrix.msc2705.animated")
    name = next((name for name in names if query.text(name)), None)
    animated = None
    if name is not None:
        animated = query.boolean(
            name, False, "Animated flag does not appear to be a boolean"
        )
    try:
        method = Method(query.text("method", Method.SCALE.value))
    except ValueError:
        raise invalid_param("Method must be crop or scale") from None
    webp = accepts_webp((request.header(b"accept") or b"").lower())
    return ThumbnailQuery(width, height, method, animated, webp)


def accepts_webp(header: bytes) -> bool:
    """Whether an ``Accept`` header, in lower case, names WebP. Wildcards don't."""
    if b"webp" not in header:
        return False
    for entry in header.split(b","):
        media_range, *parameters = (part.strip() for part in entry.split(b";"))
        if media_range == b"image/webp":
            return not any(_ZERO.fullmatch(parameter) for parameter in parameters)
    return False
