"""Uploads: at once, or reserved first (mmr-http-api.md §4)."""

from __future__ import annotations

from mmr.errors import forbidden
from mmr.http.headers import MAX_TYPE_BYTES
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.media.blurhashes import Blurhashes
from mmr.media.uploads import UploadMeta, Uploads, check_length
from mmr.rest.media_path import MSC1902_PREFIXES, parse_mxc
from mmr.types import Access

_OCTET_STREAM = "application/octet-stream"
# As many characters as any file system takes; what is offered on download is shorter.
_MAX_NAME = 1024


class UploadServlet:
    """Takes uploads from users."""

    def __init__(self, uploads: Uploads, blurhashes: Blurhashes) -> None:
        self._uploads = uploads
        self._blurhashes = blurhashes

    def routes(self) -> list[Route]:
        """The routes."""
        at_once = [
            Route(
                methods=("POST",),
                path=f"{prefix}/upload",
                action="upload",
                access=Access.USER,
                handler=self.on_upload,
                reads_body=True,
            )
            for prefix in (
                "/_matrix/media/r0",
                "/_matrix/media/v1",
                "/_matrix/media/v3",
                *MSC1902_PREFIXES,
            )
        ]
        create = Route(
            methods=("POST",),
            path="/_matrix/media/v1/create",
            action="create",
            access=Access.USER,
            handler=self.on_create,
        )
        fill = Route(
            methods=("PUT",),
            path="/_matrix/media/v3/upload/:server/:media_id",
            action="upload_async",
            access=Access.USER,
            handler=self.on_fill,
            reads_body=True,
        )
        return [*at_once, create, fill]

    async def on_upload(self, request: MediaRequest) -> Response:
        """Store the body under a new id."""
        _limit_body(request)
        meta = _meta(request)
        mxc = await self._uploads.upload(request.domain, meta, request.body)
        answer = {"content_uri": str(mxc)}
        if request.query.text("xyz.amorgan.generate_blurhash") == "true":
            blurhash = await self._blurhashes.get(request.domain, mxc)
            if blurhash is not None:
                answer["xyz.amorgan.blurhash"] = blurhash
        return JsonResponse(answer)

    async def on_create(self, request: MediaRequest) -> Response:
        """Reserve an id. The body says nothing, and isn't read."""
        mxc, expires_ts = await self._uploads.create(request.domain, _user(request))
        return JsonResponse({"content_uri": str(mxc), "unused_expires_at": expires_ts})

    async def on_fill(
        self, request: MediaRequest, server: str, media_id: str
    ) -> Response:
        """Store the body under a reserved id."""
        mxc = parse_mxc(server, media_id)
        _limit_body(request)
        await self._uploads.check_pending(request.domain, mxc, _user(request))
        await self._uploads.fill(request.domain, mxc, _meta(request), request.body)
        return JsonResponse({})


def _limit_body(request: MediaRequest) -> None:
    uploads = request.domain.uploads
    check_length(uploads, request.body.length)
    if uploads.max_bytes:
        # A body that doesn't say its length ends at the byte that passes (R65).
        request.body.limit(uploads.max_bytes)


def _user(request: MediaRequest) -> str:
    if request.requester.user_id is None:
        raise forbidden()
    return request.requester.user_id


def _meta(request: MediaRequest) -> UploadMeta:
    # Kept as declared, and judged when it is sent (R4): MMR compares it on re-uploads.
    declared = (request.header(b"content-type") or b"").decode("latin-1").strip()
    if not declared or len(declared) > MAX_TYPE_BYTES:
        declared = _OCTET_STREAM
    name = request.query.text("filename").rpartition("/")[2][:_MAX_NAME]
    return UploadMeta(_user(request), declared, name)
