"""Calls that are passed on to the homeserver (mmr-http-api.md §8.5, §8.6)."""

from __future__ import annotations

from functools import partial

from mmr.auth.sessions import Sessions
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.types import Access


class SessionServlet:
    """Logout, which must empty our token cache, and the versions we add to."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def routes(self) -> list[Route]:
        """The routes."""
        logouts = [
            Route(
                methods=("POST",),
                path=f"/_matrix/client/{version}/logout{suffix}",
                action=action,
                access=Access.USER,
                handler=partial(self.on_logout, everywhere=bool(suffix)),
            )
            for version in ("r0", "v3")
            for suffix, action in (("", "logout"), ("/all", "logout_all"))
        ]
        versions = Route(
            methods=("GET",),
            path="/_matrix/client/versions",
            action="client_versions",
            access=Access.OPTIONAL,
            handler=self.on_versions,
        )
        return [*logouts, versions]

    async def on_logout(self, request: MediaRequest, *, everywhere: bool) -> Response:
        """End the caller's session, there and here."""
        await self._sessions.logout(request, everywhere=everywhere)
        return JsonResponse({})

    async def on_versions(self, request: MediaRequest) -> Response:
        """The homeserver's versions, with authenticated media among them."""
        return JsonResponse(await self._sessions.versions(request))
