"""An answer whose object turns out to be lost, and what takes its place (R102)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from mmr.http.request import MediaRequest
from mmr.http.responses import Response
from mmr.media.content import ObjectLost


@attrs.frozen
class SecondTry(Response):
    """Sends the first answer, or another one when the first has lost its object.

    Objects are opened before anything is written, so the client sees one answer.

    Attributes:
        first: What is likely to be sent.
        second: Gives the other one.
    """

    first: Response
    second: Callable[[], Awaitable[Response]]

    async def send(self, request: MediaRequest) -> None:
        """Write one of them."""
        try:
            await self.first.send(request)
            return
        except ObjectLost:
            if request.is_started:
                raise
        # What was reserved for the first; the second has another size.
        request.limits.over(request)
        response = await self.second()
        await response.send(request)
