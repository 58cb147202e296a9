"""``GET …/preview_url`` (mmr-http-api.md §7.1)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from mmr.errors import bad_request, missing_param, not_found
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.media.previews import PreviewQuery, Previews
from mmr.rest.media_path import MSC1902_PREFIXES
from mmr.storage.previews import PreviewRecord
from mmr.types import Access

# Longer ones, and those that say something else, identify people, not languages.
_LANGUAGES = re.compile(rb"[A-Za-z0-9*,;=. -]{1,200}\Z")


class PreviewServlet:
    """Shows what is behind a link."""

    def __init__(self, previews: Previews) -> None:
        self._previews = previews

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route(
                methods=("GET",),
                path=f"{prefix}/preview_url",
                action="url_preview",
                access=Access.USER,
                handler=self.on_get,
            )
            for prefix in (
                "/_matrix/media/r0",
                "/_matrix/media/v1",
                "/_matrix/media/v3",
                "/_matrix/client/v1/media",
                *MSC1902_PREFIXES,
            )
        ]

    async def on_get(self, request: MediaRequest) -> Response:
        """The preview; its keys are left out where nothing is known."""
        settings = request.domain.url_previews
        if not settings.enabled:
            raise not_found()
        query = request.query
        url = query.text("url")
        _check_url(url)
        ts = query.integer("ts", -1, "ts does not appear to be an integer")
        preview = await self._previews.get(
            PreviewQuery(
                domain=request.domain,
                user_id=request.requester.user_id,
                url=url,
                language=_language(request) or settings.default_language,
                ts=ts if query.text("ts") else None,
            )
        )
        return JsonResponse(_answer(preview))


def _check_url(url: str) -> None:
    """Refuse what is no web address at all. What we don't like of others is a 404."""
    if not url:
        raise missing_param("No url provided")
    if not url.lower().startswith(("http://", "https://")):
        raise bad_request("Scheme not accepted")
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if not host:
        raise bad_request("invalid host")


def _language(request: MediaRequest) -> str:
    value = (request.header(b"accept-language") or b"").strip()
    return value.decode("ascii") if _LANGUAGES.match(value) else ""


def _answer(preview: PreviewRecord) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "og:url": preview.site_url,
        "og:site_name": preview.site_name,
        "og:type": preview.resource_type,
        "og:description": preview.description,
        "og:title": preview.title,
    }
    image = preview.image
    if image is not None:
        answer |= {
            "og:image": str(image.mxc),
            "og:image:type": image.content_type,
            "matrix:image:size": image.size_bytes,
            "og:image:width": image.width,
            "og:image:height": image.height,
        }
    return {key: value for key, value in answer.items() if value}
