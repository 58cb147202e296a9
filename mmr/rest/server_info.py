"""Version and health (mmr-http-api.md §8.3)."""

from __future__ import annotations

from mmr import __version__
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.types import Access


class ServerInfoServlet:
    """What the server is, and that it lives."""

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route(
                methods=("GET",),
                path="/_matrix/media/version",
                action="get_version",
                access=Access.OPTIONAL,
                handler=self.on_version,
            ),
            Route(
                methods=("GET", "HEAD"),
                path="/healthz",
                action="healthz",
                access=Access.ANYONE,
                handler=self.on_health,
            ),
        ]

    async def on_version(self, request: MediaRequest) -> Response:
        """MMR's keys; there is no commit to tell of in an installed package."""
        return JsonResponse(
            {"Version": __version__, "GitCommit": "unknown", "unstable_features": {}}
        )

    async def on_health(self, request: MediaRequest) -> Response:
        """That the reactor turns."""
        return JsonResponse({"ok": True, "status": "Probably not dead"})
