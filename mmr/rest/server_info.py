"""Version and health (mmr-http-api.md §8.3, D69)."""

from __future__ import annotations

from collections.abc import Mapping

from mmr import __version__
from mmr.errors import unavailable
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.media.readiness import Readiness
from mmr.types import Access


class ServerInfoServlet:
    """What the server is, that it lives, and whether it can do its work.

    Args:
        readiness: Knows what can be stored.
        formats: The optional formats of thumbnails, and whether each can be drawn.
    """

    def __init__(self, readiness: Readiness, formats: Mapping[str, bool]) -> None:
        self._readiness = readiness
        self._formats = dict(formats)

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
            Route(
                methods=("GET", "HEAD"),
                path="/healthz/ready",
                action="ready",
                access=Access.ANYONE,
                handler=self.on_ready,
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

    async def on_ready(self, request: MediaRequest) -> Response:
        """That database and datastores work, with the formats of thumbnails.

        Else which of them don't.

        Raises:
            MatrixError: 503. The text has names of ours, and no reasons (R5).
        """
        faults = await self._readiness.faults()
        if faults:
            raise unavailable(f"Not ready: {', '.join(faults)}")
        return JsonResponse(
            {"ok": True, "status": "Ready", "thumbnails": self._formats}
        )
