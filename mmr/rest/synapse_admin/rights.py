"""Who may call, and what they reach."""

from __future__ import annotations

from mmr.auth.sessions import Sessions
from mmr.errors import forbidden, invalid_param
from mmr.http.request import MediaRequest
from mmr.media.selection import EVERYTHING, Reach
from mmr.types import server_of_user


class Rights:
    """Repository admins reach everything; a homeserver's own admins reach its media.

    Both at Synapse's paths, where Synapse knows one kind of admin (R48).
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def reach(self, request: MediaRequest) -> Reach:
        """What the caller may touch.

        Raises:
            MatrixError: 403 for those who are no admins (D15).
        """
        if request.requester.is_admin:
            return EVERYTHING
        if await self._sessions.is_local_admin(request):
            return Reach(origin=request.host)
        raise forbidden("You are not a server admin")

    async def reach_of(self, request: MediaRequest, origin: str) -> Reach:
        """The same, for what is about one server's media.

        Raises:
            MatrixError: 403, also for the admins of another server.
        """
        reach = await self.reach(request)
        if reach.origin not in (None, origin):
            raise forbidden(
                f"An admin of {request.host} reaches media of {request.host} only;"
                " whoever is in `admins` of mmr's configuration reaches all"
            )
        return reach

    async def reach_of_user(self, request: MediaRequest, user_id: str) -> Reach:
        """The same, for what is about one user's media.

        Raises:
            MatrixError: 403, also for the admins of another server; 400 for what is no
                user id.
        """
        server = server_of_user(user_id)
        if server is None:
            await self.reach(request)
            raise invalid_param("Invalid user ID")
        return await self.reach_of(request, server.lower())

    def check_quarantine(self, request: MediaRequest, reach: Reach) -> None:
        """The operator may keep quarantine from homeserver admins.

        Raises:
            MatrixError: 403.
        """
        if not (reach.is_global or request.domain.quarantine.allow_local_admins):
            raise forbidden(
                "Homeserver admins can't quarantine here (quarantine.allowLocalAdmins)"
            )

    def everything(self, request: MediaRequest) -> Reach:
        """The same, for what is about the media of all servers.

        Raises:
            MatrixError: 403 unless the caller is a repository admin.
        """
        if request.requester.is_admin:
            return EVERYTHING
        raise forbidden(
            "Remote media are shared by all homeservers here: only who is in `admins`"
            " of mmr's configuration may purge them"
        )


def actor_of(request: MediaRequest) -> str:
    """The caller's name, for the audit log."""
    return request.requester.user_id or ""
