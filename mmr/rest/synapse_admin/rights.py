"""Who may do what at Synapse's paths, beyond what all admin endpoints share."""

from __future__ import annotations

from mmr.auth.sessions import Sessions
from mmr.errors import forbidden, invalid_param, not_found
from mmr.http.request import MediaRequest
from mmr.media.selection import Reach
from mmr.rest.admin.rights import reach_of, reach_of_server
from mmr.types import server_of_user


async def reach_of_user(
    request: MediaRequest, sessions: Sessions, user_id: str
) -> Reach:
    """What the caller may touch of a user's media.

    Raises:
        MatrixError: 403, also for the admins of another server; 400 for what is no
            user id.
    """
    server = server_of_user(user_id)
    if server is None:
        await reach_of(request, sessions)
        raise invalid_param("Invalid user ID")
    return await reach_of_server(request, sessions, server.lower())


async def check_known_user(
    request: MediaRequest, sessions: Sessions, user_id: str
) -> None:
    """Ask the homeserver about a user of whom there is nothing here.

    Raises:
        MatrixError: 404 when it has no such user.
    """
    if await sessions.is_unknown_user(request, user_id):
        raise not_found("Unknown user")


def check_quarantine(request: MediaRequest, reach: Reach) -> None:
    """The operator may keep quarantine from homeserver admins.

    Raises:
        MatrixError: 403.
    """
    if not (reach.is_global or request.domain.quarantine.allow_local_admins):
        raise forbidden(
            "Homeserver admins can't quarantine here (quarantine.allowLocalAdmins)"
        )
