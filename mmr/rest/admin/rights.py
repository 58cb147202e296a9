"""Who may administer what (mmr-http-api.md §2.5, §11)."""

from __future__ import annotations

from mmr.auth.sessions import Sessions
from mmr.errors import forbidden
from mmr.http.request import MediaRequest
from mmr.media.selection import EVERYTHING, Reach


async def reach_of(request: MediaRequest, sessions: Sessions) -> Reach:
    """Everything for repository admins, the host's media for its homeserver's admins.

    Raises:
        MatrixError: 403 for everybody else (D15).
    """
    if request.requester.is_admin:
        return EVERYTHING
    if await sessions.is_local_admin(request):
        return Reach(origin=request.host)
    raise forbidden("You are not an admin here")


async def reach_of_server(
    request: MediaRequest, sessions: Sessions, server_name: str | None
) -> Reach:
    """The same, where all that is asked for belongs to one server.

    Raises:
        MatrixError: 403, also for admins of another server.
    """
    if server_name != request.host and not request.requester.is_admin:
        # Nobody has to be asked: no homeserver has a say over another's media.
        raise forbidden(
            f"Only repository admins reach other servers than {request.host}"
        )
    return await reach_of(request, sessions)


def actor_of(request: MediaRequest) -> str:
    """The caller's name for the audit log."""
    return request.requester.log_name
