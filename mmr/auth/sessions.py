"""What is passed on to the homeserver in the caller's name.

API reference 2.5, 8.5 and 8.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmr.auth.credentials import AuthRequest
from mmr.auth.homeserver import HomeserverClients, RoomMedia
from mmr.auth.tokens import TokenCache
from mmr.errors import forbidden


class Sessions:
    """Logout, versions and the question for homeserver admins.

    The shared secret is never passed on: a `Requester` that came by it has no token.

    Args:
        homeservers: Who answers.
        cache: Forgets the tokens that were logged out.
        announce: Told who logged out, for the caches of other processes.
    """

    def __init__(
        self,
        homeservers: HomeserverClients,
        cache: TokenCache,
        announce: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._announce = announce
        self._homeservers = homeservers
        self._cache = cache

    async def logout(self, request: AuthRequest, *, everywhere: bool) -> None:
        """End the caller's session, or all of the caller's sessions.

        The caller's tokens are forgotten even when the homeserver doesn't answer: at
        worst they are asked about again.

        Raises:
            MatrixError: as the homeserver's answer demands.
        """
        requester = request.requester
        if requester.token is None or requester.user_id is None:
            raise forbidden("The shared secret has no session that could end")
        try:
            await self._homeservers.get(request.domain).logout(
                requester.token,
                requester.user_id,
                request.client_address,
                everywhere=everywhere,
            )
        finally:
            self._cache.drop_user(requester.user_id)
            self._announce(requester.user_id)

    async def versions(self, request: AuthRequest) -> dict[str, Any]:
        """The homeserver's versions and ours, for this caller.

        Raises:
            MatrixError: 502 or 503 when the homeserver is unreachable.
        """
        return await self._homeservers.get(request.domain).versions(
            request.requester.token, request.client_address
        )

    async def is_local_admin(self, request: AuthRequest) -> bool:
        """Whether the caller is an admin of the homeserver that the request is for.

        Says no to the shared secret: who has that is ``requester.is_admin`` anyway.
        """
        token = request.requester.token
        if token is None:
            return False
        return await self._homeservers.get(request.domain).is_local_admin(
            token, request.client_address
        )

    async def is_unknown_user(self, request: AuthRequest, user_id: str) -> bool:
        """Whether the caller's homeserver has no such user, as far as it tells."""
        token = request.requester.token
        if token is None:
            return False
        return await self._homeservers.get(request.domain).is_unknown_user(
            user_id, token, request.client_address
        )

    async def room_media(self, request: AuthRequest, room_id: str) -> RoomMedia:
        """The media of a room, as the caller's homeserver knows them.

        Raises:
            MatrixError: as `HomeserverClient.room_media`; 403 for the shared secret.
        """
        token = request.requester.token
        if token is None:
            raise forbidden(
                "The homeserver lists a room's media to its own admins only: use the"
                " access token of one, not the shared secret"
            )
        return await self._homeservers.get(request.domain).room_media(
            room_id, token, request.client_address
        )
