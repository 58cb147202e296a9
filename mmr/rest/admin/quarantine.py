"""``…/admin/quarantine/…`` and ``…/admin/unquarantine/…`` (mmr-http-api.md §11.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from mmr.auth.sessions import Sessions
from mmr.errors import bad_request, forbidden
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.media import selection as selections
from mmr.media.selection import Order, Reach, Selection
from mmr.rest.admin import parameters
from mmr.rest.admin.paths import ADMIN_PREFIXES, UNSTABLE
from mmr.rest.admin.rights import actor_of, reach_of, reach_of_server
from mmr.rest.media_path import parse_mxc
from mmr.tasks.moderation import Moderation
from mmr.types import Access, is_valid_server_name, server_of_user

_SHA256 = re.compile(r"[0-9a-fA-F]{64}\Z")

_Find = Callable[..., Coroutine[Any, Any, tuple[Selection, Reach]]]


class QuarantineServlet:
    """Takes content out of circulation, and back. MMR has no way back."""

    def __init__(self, moderation: Moderation, sessions: Sessions) -> None:
        self._moderation = moderation
        self._sessions = sessions

    def routes(self) -> list[Route]:
        """The routes."""
        kinds = (
            ("/room/:room_id", "room", self._room),
            ("/user/:user_id", "user", self._user),
            ("/server/:server_name", "domain", self._server),
            ("/hash/:digest", "hash", self._hash),
        )
        one = {"quarantine": self._one_to_quarantine, "unquarantine": self._one}
        routes = [
            self._route(f"{prefix}/{verb}{path}", f"{verb}_{name}", find, verb)
            for prefix in ADMIN_PREFIXES
            for verb in ("quarantine", "unquarantine")
            for path, name, find in (
                *kinds,
                ("/:server/:media_id", "media", one[verb]),
            )
        ]
        routes += [
            self._route(
                f"/_matrix/client/{part}/admin/quarantine_media/:room_id",
                "quarantine_room",
                self._room,
                "quarantine",
            )
            for part in UNSTABLE
        ]
        return routes

    def _route(self, path: str, action: str, find: _Find, verb: str) -> Route:
        return Route(
            methods=("POST",),
            path=path,
            action=action,
            access=Access.USER,
            handler=partial(self.on_post, find, verb == "quarantine"),
        )

    async def on_post(
        self, find: _Find, quarantined: bool, request: MediaRequest, **names: str
    ) -> Response:
        """Change what the path names, and all copies of it within reach."""
        _check_allowed(request)
        wanted, reach = await find(request, **names)
        reason = parameters.reason(request.query)
        order = Order(wanted, reach, actor_of(request), reason)
        outcome = await self._moderation.quarantine(order, quarantined)
        result = outcome.result
        answer: dict[str, Any] = {
            "num_quarantined" if quarantined else "num_released": result.num,
            "affected": [str(mxc) for mxc in result.mxcs],
            "skipped": parameters.shown_skipped(result.skipped),
        }
        if outcome.task_id is not None:
            answer["task_id"] = outcome.task_id
        return JsonResponse(answer)

    async def _one(
        self, request: MediaRequest, server: str, media_id: str
    ) -> tuple[Selection, Reach]:
        mxc = parse_mxc(server, media_id)
        reach = await reach_of_server(request, self._sessions, mxc.origin)
        return selections.one(mxc), reach

    async def _one_to_quarantine(
        self, request: MediaRequest, server: str, media_id: str
    ) -> tuple[Selection, Reach]:
        """As `_one`; MMR has an answer of its own for another server's media."""
        mxc = parse_mxc(server, media_id)
        reach = await reach_of(request, self._sessions)
        if reach.origin not in (None, mxc.origin):
            raise bad_request("unable to quarantine media on other homeservers")
        return selections.one(mxc), reach

    async def _room(
        self, request: MediaRequest, room_id: str
    ) -> tuple[Selection, Reach]:
        reach = await reach_of(request, self._sessions)
        found = await self._sessions.room_media(request, room_id)
        # What is out of reach is listed as skipped (R89).
        uris = found.local + found.remote
        return selections.many(parameters.known_uris(uris), room_id), reach

    async def _user(
        self, request: MediaRequest, user_id: str
    ) -> tuple[Selection, Reach]:
        server = server_of_user(user_id)
        if server is None:
            raise bad_request("error parsing user ID", "M_INVALID_PARAM")
        reach = await reach_of_server(request, self._sessions, server)
        return selections.of_user(user_id), reach

    async def _server(
        self, request: MediaRequest, server_name: str
    ) -> tuple[Selection, Reach]:
        if not is_valid_server_name(server_name):
            raise bad_request("invalid server name")
        reach = await reach_of_server(request, self._sessions, server_name)
        return selections.of_server(server_name), reach

    async def _hash(
        self, request: MediaRequest, digest: str
    ) -> tuple[Selection, Reach]:
        reach = await reach_of(request, self._sessions)
        if not _SHA256.match(digest):
            raise bad_request("a SHA-256 has 64 hexadecimal digits", "M_INVALID_PARAM")
        return selections.with_hash(digest.lower()), reach


def _check_allowed(request: MediaRequest) -> None:
    is_admin = request.requester.is_admin
    if not (is_admin or request.domain.quarantine.allow_local_admins):
        raise forbidden(
            "Homeserver admins can't quarantine here (quarantine.allowLocalAdmins)"
        )
