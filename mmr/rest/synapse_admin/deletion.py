"""Deletion of local media, and of remote media that can be had again (§3.3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import attrs

from mmr.auth.profile_pictures import ProfilePictures
from mmr.auth.sessions import Sessions
from mmr.errors import bad_request, not_found
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Handler, Route
from mmr.media.purge import MAX_LISTED, PurgeResult
from mmr.media.selection import (
    EVERYTHING,
    Order,
    Reach,
    Selection,
    many,
    one,
    unused_remote,
)
from mmr.rest.admin.rights import actor_of, reach_of, reach_of_server
from mmr.rest.media_path import parse_mxc
from mmr.rest.synapse_admin import parameters
from mmr.rest.synapse_admin.listing import user_media_page
from mmr.rest.synapse_admin.rights import check_known_user, reach_of_user
from mmr.rest.synapse_admin.routes import admin_route
from mmr.storage.listing import ListingStore
from mmr.tasks.moderation import Moderation
from mmr.types import Access, Mxc

_BATCH = 1000


class DeletionServlet:
    """Deletes media. Protected media stays."""

    def __init__(
        self,
        *,
        moderation: Moderation,
        listing: ListingStore,
        pictures: ProfilePictures,
        sessions: Sessions,
        our_servers: Callable[[], Collection[str]],
    ) -> None:
        self._moderation = moderation
        self._listing = listing
        self._pictures = pictures
        self._sessions = sessions
        self._our_servers = our_servers

    def routes(self) -> list[Route]:
        """The routes. ``delete`` as a literal part is no media id."""
        handlers: list[tuple[str, str, str, Handler]] = [
            ("DELETE", "/media/:server/:media_id", "delete_media", self.on_one),
            ("POST", "/media/delete", "delete_old_media", self.on_old),
            ("POST", "/media/:server/delete", "delete_old_media", self.on_old_of),
            ("DELETE", "/users/:user_id/media", "delete_user_media", self.on_user),
        ]
        return [
            *(admin_route(*parts) for parts in handlers),
            admin_route(
                "POST",
                "/purge_media_cache",
                "purge_remote_media",
                self.on_cache,
                Access.REPO_ADMIN,
            ),
        ]

    async def on_one(
        self, request: MediaRequest, server: str, media_id: str
    ) -> Response:
        """Delete one of our media."""
        reach = await reach_of_server(request, self._sessions, server)
        _check_local(request, server)
        mxc = parse_mxc(server, media_id)
        if await self._listing.get_one(server, media_id) is None:
            raise not_found("Unknown media")
        return _deleted(await self._purge(request, one(mxc), reach))

    async def on_old_of(self, request: MediaRequest, server: str) -> Response:
        """The deprecated path of the same."""
        await reach_of_server(request, self._sessions, server)
        _check_local(request, server)
        return await self.on_old(request)

    async def on_old(self, request: MediaRequest) -> Response:
        """Delete what nobody asked for since a time; quarantined media stays.

        At most `MAX_LISTED` media a call: the answer names them all.
        """
        reach = await reach_of(request, self._sessions)
        query = request.query
        before_ts = parameters.before_ts(query)
        larger_than = parameters.number(query, "size_gt", 0)
        keep_profiles = parameters.flag(query, "keep_profiles", True)
        keep = await self._pictures.get_ids(request) if keep_profiles else frozenset()
        ids = await self._find_old(request.host, before_ts, larger_than, keep)
        target = f"{request.host} unused since {before_ts}"
        return await self._delete(request, ids, target, reach)

    async def on_user(self, request: MediaRequest, user_id: str) -> Response:
        """Delete a page of a user's uploads, the newest unless told otherwise."""
        reach = await reach_of_user(request, self._sessions, user_id)
        order, page = user_media_page(request, user_id)
        rows = await self._listing.get_of_user(user_id, order, page)
        ids = [row.media_id for row in rows]
        if not ids:
            await check_known_user(request, self._sessions, user_id)
        return await self._delete(request, ids, user_id, reach)

    async def on_cache(self, request: MediaRequest) -> Response:
        """For repository admins: all homeservers here share the cache.

        Deletes remote media last asked for before a time; quarantined media stays.
        """
        before_ts = parameters.before_ts(request.query)
        selection = unused_remote(before_ts, self._our_servers())
        selection = attrs.evolve(
            selection, filter=attrs.evolve(selection.filter, quarantined=False)
        )
        result = await self._purge(request, selection, EVERYTHING)
        return JsonResponse({"deleted": result.media})

    async def _find_old(
        self, host: str, before_ts: int, larger_than: int, keep: Collection[str]
    ) -> list[str]:
        found: list[str] = []
        after = ""
        while len(found) < MAX_LISTED:
            batch = await self._listing.get_old(
                host, before_ts, larger_than, after=after, limit=_BATCH
            )
            found += [media_id for media_id in batch if media_id not in keep]
            if len(batch) < _BATCH:
                break
            after = batch[-1]
        return found[:MAX_LISTED]

    async def _delete(
        self, request: MediaRequest, ids: Iterable[str], target: str, reach: Reach
    ) -> Response:
        selection = many((Mxc(request.host, media_id) for media_id in ids), target)
        return _deleted(await self._purge(request, selection, reach))

    async def _purge(
        self, request: MediaRequest, selection: Selection, reach: Reach
    ) -> PurgeResult:
        order = Order(selection, reach, actor_of(request))
        return (await self._moderation.purge(order)).result


def _check_local(request: MediaRequest, server: str) -> None:
    if server != request.host:
        raise bad_request("Can only delete local media")


def _deleted(result: PurgeResult) -> Response:
    media = result.affected
    return JsonResponse(
        {"deleted_media": [mxc.media_id for mxc in media], "total": len(media)}
    )
