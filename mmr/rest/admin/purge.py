"""``…/admin/purge/…`` and ``DELETE …/download/…`` (mmr-http-api.md §11.2)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from mmr.auth.sessions import Sessions
from mmr.errors import bad_request, missing_param
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Handler, Route
from mmr.media import selection as selections
from mmr.media.purge import Purge, PurgeResult
from mmr.media.selection import EVERYTHING, Order, Reach, Selection
from mmr.rest.admin import parameters
from mmr.rest.admin.paths import ADMIN_PREFIXES, UNSTABLE
from mmr.rest.admin.rights import actor_of, reach_of, reach_of_server
from mmr.rest.media_path import parse_mxc
from mmr.storage.media import MediaStore
from mmr.tasks.moderation import Moderation, Outcome
from mmr.types import Access, Mxc, is_valid_server_name, server_of_user
from mmr.util.clock import Clock


class PurgeServlet:
    """Removes media, at the word of admins and uploaders."""

    def __init__(
        self,
        moderation: Moderation,
        purge: Purge,
        media: MediaStore,
        sessions: Sessions,
        our_servers: Callable[[], Collection[str]],
        clock: Clock,
    ) -> None:
        self._moderation = moderation
        self._purge = purge
        self._media = media
        self._sessions = sessions
        self._our_servers = our_servers
        self._clock = clock

    def routes(self) -> list[Route]:
        """The routes."""
        posts = (
            ("/purge/remote", "purge_remote_media", Access.REPO_ADMIN, self.on_remote),
            ("/purge_remote", "purge_remote_media", Access.REPO_ADMIN, self.on_remote),
            ("/purge/old", "purge_old_media", Access.REPO_ADMIN, self.on_old),
            (
                "/purge/quarantined",
                "purge_quarantined",
                Access.USER,
                self.on_quarantined,
            ),
            ("/purge/user/:user_id", "purge_user_media", Access.USER, self.on_user),
            ("/purge/room/:room_id", "purge_room_media", Access.USER, self.on_room),
            (
                "/purge/server/:server_name",
                "purge_domain_media",
                Access.USER,
                self.on_server,
            ),
            (
                "/purge/:server/:media_id",
                "purge_individual_media",
                Access.USER,
                self.on_one,
            ),
        )
        routes = [
            _route("POST", prefix + path, action, access, handler)
            for prefix in ADMIN_PREFIXES
            for path, action, access, handler in posts
        ]
        for part in UNSTABLE:
            routes += [
                _route(
                    "DELETE",
                    f"/_matrix/media/{part}/download/:server/:media_id",
                    "purge_individual_media",
                    Access.USER,
                    self.on_one,
                ),
                _route(
                    "POST",
                    f"/_matrix/client/{part}/admin/purge_media_cache",
                    "purge_remote_media",
                    Access.REPO_ADMIN,
                    self.on_remote,
                ),
            ]
        return routes

    async def on_remote(self, request: MediaRequest) -> Response:
        """What was fetched from other servers before a time."""
        if not request.query.text("before_ts"):
            raise missing_param("Missing before_ts argument")
        before_ts = parameters.before_ts(request, 0)
        wanted = selections.remote(before_ts, self._our_servers())
        shown, result = await self._run(request, wanted, EVERYTHING)
        return JsonResponse({"total_removed": result.media, **shown})

    async def on_old(self, request: MediaRequest) -> Response:
        """What nobody has asked for since a time (D23)."""
        before_ts = parameters.before_ts(request, self._clock.time_ms())
        include_local = request.query.boolean(
            "include_local", False, "Error parsing include_local"
        )
        wanted = (
            selections.unused(before_ts)
            if include_local
            else selections.unused_remote(before_ts, self._our_servers())
        )
        return await self._answer(request, wanted, EVERYTHING)

    async def on_quarantined(self, request: MediaRequest) -> Response:
        """The bytes of all that is quarantined."""
        reach = await reach_of(request, self._sessions)
        wanted = selections.quarantined()
        if reach.origin is not None:
            wanted = selections.quarantined(reach.origin)
        return await self._answer(request, wanted, reach)

    async def on_user(self, request: MediaRequest, user_id: str) -> Response:
        """What a user uploaded before a time."""
        server = server_of_user(user_id)
        if server is None:
            raise bad_request("error parsing user ID", "M_INVALID_PARAM")
        before_ts = parameters.optional_before_ts(request)
        reach = await reach_of_server(request, self._sessions, server)
        wanted = selections.of_user(user_id).created_before(before_ts)
        return await self._answer(request, wanted, reach)

    async def on_room(self, request: MediaRequest, room_id: str) -> Response:
        """What a room's unencrypted events name."""
        before_ts = parameters.optional_before_ts(request)
        reach = await reach_of(request, self._sessions)
        found = await self._sessions.room_media(request, room_id)
        # What is out of reach is listed as skipped (R89).
        uris = found.local + found.remote
        wanted = selections.many(parameters.known_uris(uris), room_id)
        return await self._answer(request, wanted.created_before(before_ts), reach)

    async def on_server(self, request: MediaRequest, server_name: str) -> Response:
        """What came from a server before a time."""
        if not is_valid_server_name(server_name):
            raise bad_request("invalid server name")
        before_ts = parameters.optional_before_ts(request)
        reach = await reach_of_server(request, self._sessions, server_name)
        wanted = selections.of_server(server_name).created_before(before_ts)
        return await self._answer(request, wanted, reach)

    async def on_one(
        self, request: MediaRequest, server: str, media_id: str
    ) -> Response:
        """One media. An unknown id is fine: then it is gone already."""
        mxc = parse_mxc(server, media_id)
        reach = await self._reach_of_one(request, mxc)
        shown, _ = await self._run(request, selections.one(mxc), reach)
        return JsonResponse({"purged": True, **shown})

    async def _reach_of_one(self, request: MediaRequest, mxc: Mxc) -> Reach:
        """Uploaders need no homeserver to agree: it isn't even asked (D34)."""
        requester = request.requester
        if requester.is_admin:
            return EVERYTHING
        if mxc.origin == request.host:
            record = await self._media.get_media(mxc.origin, mxc.media_id)
            if record is None or record.user_id == requester.user_id:
                return Reach(origin=request.host, user_id=requester.user_id)
        return await reach_of_server(request, self._sessions, mxc.origin)

    async def _answer(
        self, request: MediaRequest, wanted: Selection, reach: Reach
    ) -> Response:
        shown, result = await self._run(request, wanted, reach)
        affected = [str(mxc) for mxc in result.affected]
        return JsonResponse({"purged": True, "affected": affected, **shown})

    async def _run(
        self, request: MediaRequest, wanted: Selection, reach: Reach
    ) -> tuple[dict[str, Any], PurgeResult]:
        """Purge, or say what would be. Gives what MMR doesn't tell, and the result."""
        reason, query = parameters.reason(request.query), request.query
        wait = parameters.wait(query)
        if parameters.dry_run(query):
            result = await self._purge.estimate(wanted, reach)
            return {**_shown(result), "dry_run": True, "purged": False}, result
        order = Order(wanted, reach, actor_of(request), reason)
        outcome: Outcome[PurgeResult] | int
        if wait:
            outcome = await self._moderation.purge(order)
        else:
            outcome = await self._moderation.start_purge(order)
        if isinstance(outcome, int):
            return {"task_id": outcome, "purged": False}, PurgeResult()
        shown = _shown(outcome.result)
        if outcome.task_id is not None:
            shown["task_id"] = outcome.task_id
        return shown, outcome.result


def _shown(result: PurgeResult) -> dict[str, Any]:
    return {
        "media": result.media,
        "thumbnails": result.thumbnails,
        "bytes": result.bytes,
        "skipped": parameters.shown_skipped(result.skipped),
        "num_skipped": result.num_skipped,
    }


def _route(
    method: str, path: str, action: str, access: Access, handler: Handler
) -> Route:
    return Route(
        methods=(method,), path=path, action=action, access=access, handler=handler
    )
