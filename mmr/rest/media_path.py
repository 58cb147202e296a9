"""What the routes that name one media have in common."""

from __future__ import annotations

from mmr.errors import bad_request, not_found
from mmr.http.addresses import address_group
from mmr.http.request import MediaRequest
from mmr.media.downloads import MediaQuery
from mmr.types import Mxc, is_valid_media_id, is_valid_server_name

MSC1902_PREFIXES = (
    "/_matrix/client/r0/media",
    "/_matrix/client/unstable/org.matrix.msc1902/media",
)
"""Where MSC1902 puts the client's side; downloads need no token there, as before it."""

_DEFAULT_WAIT_MS = 20_000
_MAX_WAIT_MS = 60_000


def parse_mxc(server: str, media_id: str) -> Mxc:
    """The media that a path names.

    Raises:
        MatrixError: 400 for what can't be a server name; 404 for what can't be a media
            id, as for any id that isn't there (R70).
    """
    if not is_valid_server_name(server):
        raise bad_request("invalid server ID")
    if not is_valid_media_id(media_id):
        raise not_found()
    return Mxc(server, media_id)


def parse_media_query(request: MediaRequest, server: str, media_id: str) -> MediaQuery:
    """Which media, for whom, and how long to wait for it (mmr-http-api.md §5.1).

    Raises:
        MatrixError: 400 or 404.
    """
    query = request.query
    allow_remote = query.boolean(
        "allow_remote", True, "allow_remote flag does not appear to be a boolean"
    )
    query.boolean(
        "allow_redirect", False, "allow_redirect flag does not appear to be a boolean"
    )
    wait_ms = query.integer(
        "timeout_ms",
        _DEFAULT_WAIT_MS,
        "timeout_ms does not appear to be an integer",
    )
    return MediaQuery(
        domain=request.domain,
        mxc=parse_mxc(server, media_id),
        requester=request.requester,
        allow_remote=allow_remote,
        # 0 means: answer at once (D24).
        wait_ms=min(max(wait_ms, 0), _MAX_WAIT_MS),
        asker=request.requester.user_id or address_group(request.client_address),
    )
