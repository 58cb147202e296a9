"""Pictures for those who have none (mmr-http-api.md §8.4)."""

from __future__ import annotations

import hashlib

from mmr.errors import not_found
from mmr.http.request import MediaRequest
from mmr.http.responses import MediaResponse, Response
from mmr.http.routing import Route
from mmr.thumbnailing.identicon import MIN_SIDE, draw_identicon
from mmr.types import Access
from mmr.util.threads import Runner


class IdenticonServlet:
    """Draws identicons, off the reactor thread."""

    def __init__(self, files: Runner) -> None:
        self._files = files

    def routes(self) -> list[Route]:
        """The route."""
        return [
            Route(
                methods=("GET",),
                path="/_matrix/media/r0/identicon/*seed",
                action="identicon",
                access=Access.OPTIONAL,
                handler=self.on_get,
            )
        ]

    async def on_get(self, request: MediaRequest, seed: str) -> Response:
        """A PNG that depends on nothing but the seed and the size."""
        if not request.domain.identicons.enabled:
            raise not_found()
        width = request.query.integer("width", MIN_SIDE, "Error parsing width")
        height = request.query.integer("height", width, "Error parsing height")
        seed = f"/{seed}"  # MMR's seed has the slash, and the pictures depend on it
        image = await self._files.run(draw_identicon, seed, width, height)
        return MediaResponse(
            content_type="image/png",
            name=hashlib.sha256(seed.encode()).hexdigest()[:32] + ".png",
            size=len(image),
            source=image,
        )
