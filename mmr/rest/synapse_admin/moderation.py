"""Quarantine and protection (§3.2)."""

from __future__ import annotations

from mmr.auth.sessions import Sessions
from mmr.errors import not_found
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.media.audit import AuditLog
from mmr.media.selection import Order, Reach, Selection, many, of_user, one
from mmr.rest.admin.parameters import known_uris
from mmr.rest.admin.rights import actor_of, reach_of, reach_of_server
from mmr.rest.media_path import parse_mxc
from mmr.rest.synapse_admin.rights import check_quarantine, reach_of_user
from mmr.rest.synapse_admin.routes import admin_route
from mmr.storage.attributes import Purpose
from mmr.storage.stores import Stores
from mmr.tasks.moderation import Moderation


class ModerationServlet:
    """Takes media out of circulation, and back."""

    def __init__(
        self,
        moderation: Moderation,
        stores: Stores,
        audit: AuditLog,
        sessions: Sessions,
    ) -> None:
        self._moderation = moderation
        self._stores = stores
        self._audit = audit
        self._sessions = sessions

    def routes(self) -> list[Route]:
        """The routes."""
        handlers = (
            ("/media/quarantine/:server/:media_id", "quarantine_media", self.on_one),
            (
                "/media/unquarantine/:server/:media_id",
                "unquarantine_media",
                self.on_release,
            ),
            ("/room/:room_id/media/quarantine", "quarantine_room", self.on_room),
            ("/quarantine_media/:room_id", "quarantine_room", self.on_room),
            ("/user/:user_id/media/quarantine", "quarantine_user", self.on_user),
            ("/media/protect/:media_id", "protect_media", self.on_protect),
            ("/media/unprotect/:media_id", "unprotect_media", self.on_unprotect),
        )
        return [admin_route("POST", *parts) for parts in handlers]

    async def on_one(
        self, request: MediaRequest, server: str, media_id: str
    ) -> Response:
        """Quarantine one media and all copies. Unknown ids are no error."""
        await self._set_one(request, server, media_id, True)
        return JsonResponse({})

    async def on_release(
        self, request: MediaRequest, server: str, media_id: str
    ) -> Response:
        """Release one media and all copies."""
        await self._set_one(request, server, media_id, False)
        return JsonResponse({})

    async def on_room(self, request: MediaRequest, room_id: str) -> Response:
        """Quarantine what a room's unencrypted events name, as far as it is here."""
        reach = await reach_of(request, self._sessions)
        check_quarantine(request, reach)
        media = await self._sessions.room_media(request, room_id)
        # An admin of the homeserver reaches no others: they needn't be looked up.
        uris = media.local + (media.remote if reach.is_global else ())
        return await self._set(request, many(known_uris(uris), room_id), reach)

    async def on_user(self, request: MediaRequest, user_id: str) -> Response:
        """Quarantine all that a user uploaded."""
        reach = await reach_of_user(request, self._sessions, user_id)
        check_quarantine(request, reach)
        return await self._set(request, of_user(user_id), reach)

    async def on_protect(self, request: MediaRequest, media_id: str) -> Response:
        """Keep one of our media from being quarantined or purged."""
        return await self._set_purpose(request, media_id, Purpose.PINNED)

    async def on_unprotect(self, request: MediaRequest, media_id: str) -> Response:
        """End that."""
        return await self._set_purpose(request, media_id, Purpose.NONE)

    async def _set_one(
        self, request: MediaRequest, server: str, media_id: str, quarantined: bool
    ) -> None:
        reach = await reach_of_server(request, self._sessions, server)
        check_quarantine(request, reach)
        mxc = parse_mxc(server, media_id)
        order = Order(one(mxc), reach, actor_of(request))
        await self._moderation.quarantine(order, quarantined)

    async def _set(
        self, request: MediaRequest, selection: Selection, reach: Reach
    ) -> Response:
        order = Order(selection, reach, actor_of(request))
        outcome = await self._moderation.quarantine(order, True)
        return JsonResponse({"num_quarantined": outcome.result.num})

    async def _set_purpose(
        self, request: MediaRequest, media_id: str, purpose: Purpose
    ) -> Response:
        await reach_of(request, self._sessions)
        mxc = parse_mxc(request.host, media_id)
        if await self._stores.media.get_media(mxc.origin, mxc.media_id) is None:
            raise not_found("Unknown media")
        await self._stores.attributes.set_purpose(mxc.origin, mxc.media_id, purpose)
        await self._audit.note(
            actor_of(request), f"set_purpose_{purpose.value}", str(mxc)
        )
        return JsonResponse({})
