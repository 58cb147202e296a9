"""What was quarantined and released, one media after the other (§3.2)."""

from __future__ import annotations

from typing import Any

from mmr.auth.sessions import Sessions
from mmr.errors import invalid_param
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.rest.admin.rights import reach_of
from mmr.rest.synapse_admin import parameters
from mmr.rest.synapse_admin.routes import admin_route
from mmr.storage.quarantine_changes import QuarantineChange, QuarantineChangeStore

_LIMIT = 100


class ChangesServlet:
    """For moderation bots that keep a list of their own."""

    def __init__(self, changes: QuarantineChangeStore, sessions: Sessions) -> None:
        self._changes = changes
        self._sessions = sessions

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            admin_route(
                "GET",
                "/media/quarantine_changes",
                "list_quarantine_changes",
                self.on_get,
            )
        ]

    async def on_get(self, request: MediaRequest) -> Response:
        """A page, oldest first; ``next_batch`` is the ``from`` of the page behind it.

        Admins of a homeserver see what is about their own media.
        """
        reach = await reach_of(request, self._sessions)
        start = parameters.number(request.query, "from", 0)
        # Read before the page: what is committed in between comes with the next one.
        end = await self._changes.get_last_id()
        if start > end:
            raise invalid_param("Query parameter 'from' is behind the newest change")
        page = await self._changes.get_after(start, _LIMIT, reach.origin)
        return JsonResponse(
            {
                "next_batch": page[-1].id if page else end,
                "changes": [_shown(change) for change in page],
            }
        )


def _shown(change: QuarantineChange) -> dict[str, Any]:
    """Synapse's three keys, and which entry of the audit log tells more."""
    return {
        "origin": change.origin,
        "media_id": change.media_id,
        "quarantined": change.quarantined,
        "audit_id": change.audit_id,
    }
