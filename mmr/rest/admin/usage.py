"""``…/admin/usage/…``: who stores how much (mmr-http-api.md §11.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from mmr.auth.sessions import Sessions
from mmr.errors import MatrixError, bad_request, invalid_param
from mmr.http.parameters import Query, parse_integer
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.media.usage import Usage
from mmr.rest.admin.paths import ADMIN_PREFIXES
from mmr.rest.admin.rights import reach_of_server
from mmr.rest.admin.streamed import StreamedObject
from mmr.storage.usage import UsageStore, UserOrder, UserQuery
from mmr.types import Access, Mxc, is_valid_server_name

_DEFAULT_LIMIT = 100
# MMR's default is out of its own reach (D13).
_MAX_LIMIT = 1000


class UsageServlet:
    """Tells admins the numbers."""

    def __init__(self, usage: Usage, store: UsageStore, sessions: Sessions) -> None:
        self._usage = usage
        self._store = store
        self._sessions = sessions

    def routes(self) -> list[Route]:
        """The routes."""
        handlers = (
            ("", "domain_usage", Access.REPO_ADMIN, self.on_server),
            ("/users", "user_usage", Access.REPO_ADMIN, self.on_users),
            ("/users-stats", "users_usage_stats", Access.USER, self.on_users_stats),
            ("/uploads", "uploads_usage", Access.REPO_ADMIN, self.on_uploads),
        )
        return [
            Route(
                methods=("GET",),
                path=f"{prefix}/usage/:server_name{path}",
                action=action,
                access=access,
                handler=handler,
            )
            for prefix in ADMIN_PREFIXES
            for path, action, access, handler in handlers
        ]

    async def on_server(self, request: MediaRequest, server_name: str) -> Response:
        """Sums of one server's media and thumbnails; shared objects count each time."""
        _check_name(server_name)
        media, thumbnails = await self._store.get_server_totals(server_name)
        return JsonResponse(
            {
                "raw_bytes": _sums(media.size_bytes, thumbnails.size_bytes),
                "raw_counts": _sums(media.count, thumbnails.count),
            }
        )

    async def on_users(self, request: MediaRequest, server_name: str) -> Response:
        """The same by user, with all that each uploaded."""
        _check_name(server_name)
        return StreamedObject(self._users(server_name, request.query.texts("user_id")))

    async def _users(
        self, server_name: str, user_ids: list[str]
    ) -> AsyncIterator[tuple[str, Any]]:
        async for user in self._usage.users(server_name, user_ids):
            totals = user.totals
            yield (
                totals.user_id,
                {
                    "raw_bytes": _of_user(totals.size_bytes),
                    "raw_counts": _of_user(totals.count),
                    "uploaded": [
                        str(Mxc(server_name, each)) for each in user.media_ids
                    ],
                },
            )

    async def on_uploads(self, request: MediaRequest, server_name: str) -> Response:
        """All that is known of a server's media, or of some of it."""
        _check_name(server_name)
        media = [_parse_mxc(uri) for uri in request.query.texts("mxc")]
        if any(mxc.origin != server_name for mxc in media):
            raise bad_request("MXC URIs must match the requested server")
        return StreamedObject(self._uploads(server_name, media))

    async def _uploads(
        self, server_name: str, media: list[Mxc]
    ) -> AsyncIterator[tuple[str, Any]]:
        async for each in self._usage.uploads(server_name, media):
            yield (
                str(Mxc(each.origin, each.media_id)),
                {
                    "size_bytes": each.size_bytes,
                    "uploaded_by": each.user_id,
                    "datastore_id": each.datastore_id,
                    "datastore_location": each.location,
                    "sha256_hash": each.sha256_hash,
                    "quarantined": bool(each.quarantined),
                    "upload_name": each.upload_name,
                    "content_type": each.content_type,
                    "created_ts": each.creation_ts,
                },
            )

    async def on_users_stats(self, request: MediaRequest, server_name: str) -> Response:
        """Counts and bytes by user, page by page."""
        _check_name(server_name)
        await reach_of_server(request, self._sessions, server_name)
        query, start, limit = _parse_stats(request.query, server_name)
        users, total = await self._store.get_users_page(query, start, limit)
        answer: dict[str, Any] = {
            "users": [
                {
                    "displayname": user.user_id,
                    "user_id": user.user_id,
                    "media_count": user.count,
                    "media_length": user.size_bytes,
                }
                for user in users
            ],
            "total": total,
        }
        if start + len(users) < total and users:
            answer["next_token"] = start + len(users)
        return JsonResponse(answer)


def _parse_stats(query: Query, origin: str) -> tuple[UserQuery, int, int]:
    """What to add up, where to begin, and how many users to list.

    Raises:
        MatrixError: 400.
    """
    from_ts, until_ts = (
        _number(query, "from_ts", None),
        _number(query, "until_ts", None),
    )
    if until_ts is not None and until_ts <= (from_ts or 0):
        raise _wrong("until_ts", "must be greater than from_ts")
    if "search_term" in query.all() and not query.text("search_term"):
        raise _wrong("search_term", "cannot be an empty string")
    try:
        order = UserOrder(query.text("order_by") or UserOrder.USER_ID.value)
    except ValueError:
        names = ", ".join(each.value for each in UserOrder)
        raise _wrong("order_by", f"must be one of: {names}") from None
    direction = query.text("dir") or "f"
    if direction not in ("f", "b"):
        raise _wrong("dir", "must be one of: f, b")
    wanted = UserQuery(
        origin=origin,
        from_ts=from_ts,
        until_ts=until_ts,
        search_term=query.text("search_term"),
        order=order,
        is_backwards=direction == "b",
    )
    limit = _number(query, "limit", _DEFAULT_LIMIT) or 0
    return wanted, _number(query, "from", 0) or 0, min(limit, _MAX_LIMIT)


def _number(query: Query, name: str, default: int | None) -> int | None:
    text = query.text(name)
    if not text:
        return default
    value = parse_integer(text)
    if value is None or value < 0:
        raise _wrong(name, "must be an integer greater than or equal to zero")
    return value


def _wrong(name: str, message: str) -> MatrixError:
    return invalid_param(f"Query parameter '{name}' {message}")


def _sums(media: int, thumbnails: int) -> dict[str, int]:
    return {"total": media + thumbnails, "media": media, "thumbnails": thumbnails}


def _of_user(media: int) -> dict[str, int]:
    return {"total": media, "media": media}


def _check_name(server_name: str) -> None:
    if not is_valid_server_name(server_name):
        raise bad_request("invalid server name")


def _parse_mxc(uri: str) -> Mxc:
    try:
        return Mxc.parse(uri)
    except ValueError:
        raise bad_request("Error parsing MXC URI", "M_INVALID_PARAM") from None
