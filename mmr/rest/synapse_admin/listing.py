"""Questions: which media there are, whose, and how much (§3.1)."""

from __future__ import annotations

from typing import Any

from mmr.auth.sessions import Sessions
from mmr.errors import bad_request, invalid_param, not_found
from mmr.http.parameters import Query
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.rest.admin.rights import reach_of, reach_of_server
from mmr.rest.synapse_admin import parameters
from mmr.rest.synapse_admin.rights import check_known_user, reach_of_user
from mmr.rest.synapse_admin.routes import admin_route
from mmr.storage.listing import (
    ListedMedia,
    ListingStore,
    MediaOrder,
    Page,
)
from mmr.storage.objects import is_stand_in
from mmr.storage.usage import UsageStore, UserOrder, UserQuery
from mmr.types import server_of_user

_MEDIA_ORDERS = {
    "media_id": MediaOrder.MEDIA_ID,
    "upload_name": MediaOrder.UPLOAD_NAME,
    "created_ts": MediaOrder.CREATED,
    "last_access_ts": MediaOrder.LAST_ACCESS,
    "media_length": MediaOrder.SIZE,
    "media_type": MediaOrder.TYPE,
    "quarantined_by": MediaOrder.QUARANTINED,
    "safe_from_quarantine": MediaOrder.PINNED,
}
# Display names are the homeserver's.
_USER_ORDERS = {
    "user_id": UserOrder.USER_ID,
    "displayname": UserOrder.USER_ID,
    "media_length": UserOrder.MEDIA_LENGTH,
    "media_count": UserOrder.MEDIA_COUNT,
}
# Who it was is in the audit log; Synapse's word for what no admin did by hand.
_QUARANTINED_BY = "system"
# What MMR stores for uploads without a name.
_NO_NAMES = frozenset({"", "."})


class ListingServlet:
    """Tells admins what there is."""

    def __init__(
        self, listing: ListingStore, usage: UsageStore, sessions: Sessions
    ) -> None:
        self._listing = listing
        self._usage = usage
        self._sessions = sessions

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            admin_route(
                "GET", "/media/:server/:media_id", "admin_media_info", self.on_info
            ),
            admin_route(
                "GET", "/room/:room_id/media", "admin_room_media", self.on_room
            ),
            admin_route(
                "GET", "/users/:user_id/media", "admin_user_media", self.on_user
            ),
            admin_route(
                "GET",
                "/statistics/users/media",
                "users_usage_stats",
                self.on_statistics,
            ),
        ]

    async def on_info(
        self, request: MediaRequest, server: str, media_id: str
    ) -> Response:
        """All about one media that is here. Nothing is fetched."""
        await reach_of_server(request, self._sessions, server)
        found = await self._listing.get_one(server, media_id)
        if found is None:
            raise not_found("Unknown media")
        return JsonResponse({"media_info": _info(found, server == request.host)})

    async def on_room(self, request: MediaRequest, room_id: str) -> Response:
        """What the homeserver says: it has the room's events."""
        await reach_of(request, self._sessions)
        media = await self._sessions.room_media(request, room_id)
        return JsonResponse({"local": media.local, "remote": media.remote})

    async def on_user(self, request: MediaRequest, user_id: str) -> Response:
        """A page of a user's uploads, newest first unless told otherwise."""
        await reach_of_user(request, self._sessions, user_id)
        order, page = user_media_page(request, user_id)
        rows = await self._listing.get_of_user(user_id, order, page)
        total = await self._listing.count_of_user(user_id)
        if not total:
            await check_known_user(request, self._sessions, user_id)
        return JsonResponse(
            {
                "media": [_of_user(row) for row in rows],
                "total": total,
                **parameters.next_token(page, len(rows), total),
            }
        )

    async def on_statistics(self, request: MediaRequest) -> Response:
        """How much each user of the host has uploaded."""
        await reach_of(request, self._sessions)
        page = parameters.page(request.query)
        query = _user_query(request.query, request.host, page)
        rows, total = await self._usage.get_users_page(query, page.offset, page.limit)
        return JsonResponse(
            {
                "users": [
                    {
                        "user_id": row.user_id,
                        "displayname": row.user_id,
                        "media_count": row.count,
                        "media_length": row.size_bytes,
                    }
                    for row in rows
                ],
                "total": total,
                **parameters.next_token(page, len(rows), total),
            }
        )


def user_media_page(request: MediaRequest, user_id: str) -> tuple[MediaOrder, Page]:
    """Which of a user's uploads the caller means.

    Raises:
        MatrixError: 400 for wrong parameters and for users of other servers.
    """
    if (server_of_user(user_id) or "").lower() != request.host:
        raise bad_request("Can only look up local users")
    query = request.query
    is_default = not (query.text("order_by") or query.text("dir"))
    order = parameters.choice(query, "order_by", _MEDIA_ORDERS, "created_ts")
    return order, parameters.page(query, "b" if is_default else "f")


def _user_query(query: Query, host: str, page: Page) -> UserQuery:
    from_ts = parameters.number(query, "from_ts", 0)
    until_ts = parameters.number(query, "until_ts", -1)
    if until_ts >= 0 and until_ts <= from_ts:
        raise invalid_param("Query parameter 'until_ts' must be greater than 'from_ts'")
    if query.texts("search_term") and not query.text("search_term"):
        raise invalid_param("Query parameter 'search_term' cannot be an empty string")
    return UserQuery(
        origin=host,
        from_ts=from_ts or None,
        until_ts=until_ts if until_ts >= 0 else None,
        search_term=query.text("search_term"),
        order=parameters.choice(query, "order_by", _USER_ORDERS, "user_id"),
        is_backwards=page.descending,
    )


def _of_user(media: ListedMedia) -> dict[str, Any]:
    """The twelve keys that Synapse sends."""
    return {
        "media_id": media.media_id,
        "media_type": media.content_type,
        "media_length": media.size_bytes,
        "upload_name": None if media.upload_name in _NO_NAMES else media.upload_name,
        "created_ts": media.creation_ts,
        "url_cache": None,
        "last_access_ts": media.last_access_ts,
        "quarantined_by": _QUARANTINED_BY if media.quarantined else None,
        "authenticated": media.requires_auth,
        "safe_from_quarantine": media.pinned,
        "user_id": media.user_id,
        "sha256": None if is_stand_in(media.sha256_hash) else media.sha256_hash,
    }


def _info(media: ListedMedia, is_local: bool) -> dict[str, Any]:
    """The fourteen keys that Synapse sends; some are null for either kind."""
    info = {**_of_user(media), "media_origin": None, "filesystem_id": None}
    if not is_local:
        info |= {
            "media_origin": media.origin,
            "filesystem_id": media.location,
            "user_id": None,
            "safe_from_quarantine": None,
        }
    return info
