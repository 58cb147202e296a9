"""Our media for other servers (mmr-http-api.md §5.9, MSC1902)."""

from __future__ import annotations

import secrets

from mmr.errors import not_found
from mmr.http.multipart import MultipartResponse
from mmr.http.request import MediaRequest
from mmr.http.responses import (
    BytesResponse,
    MediaResponse,
    RedirectResponse,
    Response,
)
from mmr.http.routing import Handler, Route
from mmr.rest.download import DownloadServlet
from mmr.rest.second_try import SecondTry
from mmr.rest.thumbnail import ThumbnailServlet
from mmr.types import Access

_CURRENT = "/_matrix/federation/v1/media"
_MSC1902 = (
    "/_matrix/federation/v1/remote_media",
    "/_matrix/federation/unstable/org.matrix.msc1902/remote_media",
)


class FederationServlet:
    """Serves what the homeserver that was asked is the origin of, and nothing else.

    Also on MSC1902's paths, which name an origin: what another server has, that server
    gives (R21, R58).
    """

    def __init__(self, download: DownloadServlet, thumbnail: ThumbnailServlet) -> None:
        self._download = download
        self._thumbnail = thumbnail

    def routes(self) -> list[Route]:
        """The routes."""
        routes = [
            _route("download", f"{_CURRENT}/download/:media_id", self.on_download),
            _route("thumbnail", f"{_CURRENT}/thumbnail/:media_id", self.on_thumbnail),
        ]
        for prefix in _MSC1902:
            for action, handler in (
                ("download", self.on_raw_download),
                ("thumbnail", self.on_raw_thumbnail),
            ):
                path = f"{prefix}/{action}/:origin/:media_id"
                routes.append(_route(action, path, handler))
        return routes

    async def on_download(self, request: MediaRequest, media_id: str) -> Response:
        """The media, in the envelope."""
        return _in_parts(
            await self._download.on_get(request, request.domain.name, media_id)
        )

    async def on_thumbnail(self, request: MediaRequest, media_id: str) -> Response:
        """A thumbnail, in the envelope."""
        return _in_parts(
            await self._thumbnail.on_get(request, request.domain.name, media_id)
        )

    async def on_raw_download(
        self, request: MediaRequest, origin: str, media_id: str
    ) -> Response:
        """The media as it is."""
        _check_origin(request, origin)
        return await self._download.on_get(request, origin, media_id)

    async def on_raw_thumbnail(
        self, request: MediaRequest, origin: str, media_id: str
    ) -> Response:
        """A thumbnail as it is."""
        _check_origin(request, origin)
        return await self._thumbnail.on_get(request, origin, media_id)


def _route(action: str, path: str, handler: Handler) -> Route:
    return Route(
        methods=("GET",),
        path=path,
        action=action,
        access=Access.FEDERATION,
        handler=handler,
    )


def _in_parts(response: Response) -> Response:
    if isinstance(response, MediaResponse):
        return MultipartResponse(response)
    if isinstance(response, SecondTry):
        return _either_in_parts(response)
    if isinstance(response, RedirectResponse):
        return _location_in_parts(response.location)
    return response


def _either_in_parts(response: SecondTry) -> Response:
    async def second() -> Response:
        return _in_parts(await response.second())

    return SecondTry(_in_parts(response.first), second)


def _location_in_parts(location: str) -> Response:
    """The second part only says where the media is (Server-Server API, MSC3916)."""
    boundary = secrets.token_hex(24)
    body = (
        f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n"
        f"--{boundary}\r\nLocation: {location}\r\n\r\n\r\n--{boundary}--\r\n"
    )
    return BytesResponse(body.encode("ascii"), f"multipart/mixed; boundary={boundary}")


def _check_origin(request: MediaRequest, origin: str) -> None:
    if origin != request.domain.name:
        raise not_found()
