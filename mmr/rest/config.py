"""What a user may, and what they have used (mmr-http-api.md §8.1, §8.2)."""

from __future__ import annotations

from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.limits.quotas import limits_for
from mmr.rest.media_path import MSC1902_PREFIXES
from mmr.storage.quotas import QuotaStore
from mmr.types import Access


class ConfigServlet:
    """``GET …/config`` and MSC4034's usage."""

    def __init__(self, quotas: QuotaStore) -> None:
        self._quotas = quotas

    def routes(self) -> list[Route]:
        """The routes."""
        config = [
            Route(
                methods=("GET",),
                path=f"{prefix}/config",
                action="config",
                access=Access.USER,
                handler=self.on_config,
            )
            for prefix in (
                "/_matrix/media/r0",
                "/_matrix/media/v1",
                "/_matrix/media/v3",
                "/_matrix/client/v1/media",
                *MSC1902_PREFIXES,
            )
        ]
        usage = Route(
            methods=("GET",),
            path="/_matrix/media/unstable/org.matrix.msc4034/usage",
            action="usage",
            access=Access.USER,
            handler=self.on_usage,
        )
        return [*config, usage]

    async def on_config(self, request: MediaRequest) -> Response:
        """The limits; those that aren't set are left out."""
        uploads = request.domain.uploads
        limits = limits_for(uploads, request.requester.user_id or "").storage
        numbers = {
            "m.upload.size": uploads.reported_max_bytes or uploads.max_bytes,
            "org.matrix.msc4034.storage.size": limits.max_bytes,
            "org.matrix.msc4034.storage.max_files": limits.max_files,
        }
        return JsonResponse({name: n for name, n in numbers.items() if n > 0})

    async def on_usage(self, request: MediaRequest) -> Response:
        """The caller's bytes and files; left out while there are none."""
        used = await self._quotas.get_usage(request.requester.user_id or "")
        numbers = {
            "org.matrix.msc4034.storage.used": used.size_bytes,
            "org.matrix.msc4034.storage.files": used.files,
        }
        return JsonResponse({name: n for name, n in numbers.items() if n > 0})
