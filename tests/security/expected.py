"""Who may call which route: one table, from mmr-http-api.md §3 and §11 (R48).

Written down apart from the routes' own declarations, so that a wrong one is noticed.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator

_CLIENT = ("/_matrix/media/r0", "/_matrix/media/v1", "/_matrix/media/v3")
_MSC1902 = (
    "/_matrix/client/r0/media",
    "/_matrix/client/unstable/org.matrix.msc1902/media",
)
_NEW = "/_matrix/client/v1/media"
_UNSTABLE = ("unstable", "unstable/io.t2bot.media")
_FEDERATION = "/_matrix/federation/v1/media"
_FEDERATION_MSC1902 = (
    "/_matrix/federation/v1/remote_media",
    "/_matrix/federation/unstable/org.matrix.msc1902/remote_media",
)


class Callers(enum.Enum):
    """Who is let in."""

    ANYBODY = "anybody, for any host"
    OPEN = "everybody but guests; a token is optional"
    GUESTS = "users and guests"
    USERS = "users"
    CREATORS = "who reserved the id"
    OWNERS = "who uploaded it, local admins, repository admins"
    LOCAL_ADMINS = "local admins, for their own host, and repository admins"
    ADMINS = "repository admins"
    SERVERS = "other servers"


class Role(enum.Enum):
    """Who is asking."""

    ANONYMOUS = "anonymous"
    GUEST = "guest"
    USER = "user"
    LOCAL_ADMIN = "local admin"
    ADMIN = "repository admin"
    SERVER = "another server"


ALL = set(Role)
_SIGNED_IN = {Role.USER, Role.LOCAL_ADMIN, Role.ADMIN}
_NO_TOKEN = {Role.ANONYMOUS, Role.SERVER}

ALLOWED: dict[Callers, set[Role]] = {
    Callers.ANYBODY: ALL,
    Callers.OPEN: ALL - {Role.GUEST},
    Callers.GUESTS: _SIGNED_IN | {Role.GUEST},
    Callers.USERS: _SIGNED_IN,
    Callers.CREATORS: {Role.USER},
    Callers.OWNERS: _SIGNED_IN,
    Callers.LOCAL_ADMINS: {Role.LOCAL_ADMIN, Role.ADMIN},
    Callers.ADMINS: {Role.ADMIN},
    Callers.SERVERS: {Role.SERVER},
}
"""For what belongs to the user, and to the host that is asked."""

ALLOWED_FOREIGN: dict[Callers, set[Role]] = {
    **ALLOWED,
    Callers.CREATORS: set(),
    Callers.OWNERS: {Role.ADMIN},
    Callers.LOCAL_ADMINS: {Role.ADMIN},
}
"""For what belongs to another host."""


def refusal(callers: Callers, role: Role) -> tuple[int, str]:
    """Status and MMR's code for those who aren't let in (D15, §2.2)."""
    if callers is Callers.SERVERS:
        return 401, "M_MISSING_TOKEN"
    if role in _NO_TOKEN:
        return 401, "M_MISSING_TOKEN"
    if role is Role.GUEST:
        return 403, "M_GUEST_ACCESS_FORBIDDEN"
    return 403, "M_FORBIDDEN"


def callers_of(method: str, path: str) -> Callers | None:
    """Who may call a route; None: the reference doesn't know it."""
    return _TABLE.get(_unnamed(f"{method} {path}"))


def _unnamed(line: str) -> str:
    """Whatever its parameters are called."""
    return re.sub("([:*])[a-z0-9_]+", r"\1", line)


def _spec_routes() -> Iterator[tuple[str, Callers]]:
    """§3.1."""
    for prefix in (*_CLIENT, *_MSC1902):
        yield f"POST {prefix}/upload", Callers.USERS
    yield "POST /_matrix/media/v1/create", Callers.USERS
    yield "PUT /_matrix/media/v3/upload/:server/:media_id", Callers.CREATORS
    for prefix in (*_CLIENT, *_MSC1902, _NEW):
        callers = Callers.GUESTS if prefix == _NEW else Callers.OPEN
        media = ":server/:media_id"
        for method in ("GET", "HEAD"):
            yield f"{method} {prefix}/download/{media}", callers
            yield f"{method} {prefix}/download/{media}/:filename", callers
        yield f"GET {prefix}/thumbnail/{media}", callers
        yield f"GET {prefix}/preview_url", Callers.USERS
        yield f"GET {prefix}/config", Callers.USERS
    yield "GET /_matrix/media/r0/identicon/*seed", Callers.OPEN
    for action in ("download", "thumbnail"):
        yield f"GET {_FEDERATION}/{action}/:media_id", Callers.SERVERS
        for prefix in _FEDERATION_MSC1902:
            yield f"GET {prefix}/{action}/:origin/:media_id", Callers.SERVERS
    for version in ("r0", "v3"):
        yield f"POST /_matrix/client/{version}/logout", Callers.USERS
        yield f"POST /_matrix/client/{version}/logout/all", Callers.USERS
    yield "GET /_matrix/client/versions", Callers.OPEN


def _extension_routes() -> Iterator[tuple[str, Callers]]:
    """§3.2."""
    media = ":server/:media_id"
    for prefix in _UNSTABLE:
        base = f"/_matrix/media/{prefix}"
        yield f"GET {base}/info/{media}", Callers.USERS
        yield f"GET {base}/local_copy/{media}", Callers.USERS
        yield f"DELETE {base}/download/{media}", Callers.OWNERS
        admin = f"/_matrix/client/{prefix}/admin"
        yield f"POST {admin}/purge_media_cache", Callers.ADMINS
        yield f"POST {admin}/quarantine_media/:room_id", Callers.LOCAL_ADMINS
    yield "GET /_matrix/media/unstable/org.matrix.msc4034/usage", Callers.USERS
    yield "GET /_matrix/media/version", Callers.OPEN
    for method in ("GET", "HEAD"):
        yield f"{method} /healthz", Callers.ANYBODY
        yield f"{method} /healthz/ready", Callers.ANYBODY


_SYNAPSE_ROUTES = {
    "GET media/:server/:media_id": Callers.LOCAL_ADMINS,
    "DELETE media/:server/:media_id": Callers.LOCAL_ADMINS,
    "GET room/:room_id/media": Callers.LOCAL_ADMINS,
    "GET users/:user_id/media": Callers.LOCAL_ADMINS,
    "DELETE users/:user_id/media": Callers.LOCAL_ADMINS,
    "GET statistics/users/media": Callers.LOCAL_ADMINS,
    "GET media/quarantine_changes": Callers.LOCAL_ADMINS,
    "POST media/delete": Callers.LOCAL_ADMINS,
    "POST media/:server/delete": Callers.LOCAL_ADMINS,
    "POST purge_media_cache": Callers.ADMINS,
    "POST media/quarantine/:server/:media_id": Callers.LOCAL_ADMINS,
    "POST media/unquarantine/:server/:media_id": Callers.LOCAL_ADMINS,
    "POST room/:room_id/media/quarantine": Callers.LOCAL_ADMINS,
    "POST quarantine_media/:room_id": Callers.LOCAL_ADMINS,
    "POST user/:user_id/media/quarantine": Callers.LOCAL_ADMINS,
    "POST media/protect/:media_id": Callers.LOCAL_ADMINS,
    "POST media/unprotect/:media_id": Callers.LOCAL_ADMINS,
}
"""synapse-internals.md §3."""

_ADMIN_ROUTES = {
    "POST purge/remote": Callers.ADMINS,
    "POST purge_remote": Callers.ADMINS,
    "POST purge/old": Callers.ADMINS,
    "POST purge/quarantined": Callers.LOCAL_ADMINS,
    "POST purge/user/:user_id": Callers.LOCAL_ADMINS,
    "POST purge/room/:room_id": Callers.LOCAL_ADMINS,
    "POST purge/server/:server_name": Callers.LOCAL_ADMINS,
    "POST purge/:server/:media_id": Callers.OWNERS,
    "POST quarantine/room/:room_id": Callers.LOCAL_ADMINS,
    "POST quarantine/user/:user_id": Callers.LOCAL_ADMINS,
    "POST quarantine/server/:server_name": Callers.LOCAL_ADMINS,
    "POST quarantine/:server/:media_id": Callers.LOCAL_ADMINS,
    "POST quarantine/hash/:digest": Callers.LOCAL_ADMINS,
    "POST unquarantine/room/:room_id": Callers.LOCAL_ADMINS,
    "POST unquarantine/user/:user_id": Callers.LOCAL_ADMINS,
    "POST unquarantine/server/:server_name": Callers.LOCAL_ADMINS,
    "POST unquarantine/hash/:digest": Callers.LOCAL_ADMINS,
    "POST unquarantine/:server/:media_id": Callers.LOCAL_ADMINS,
    "GET audit": Callers.ADMINS,
    "GET datastores": Callers.ADMINS,
    "GET datastores/:datastore_id/size_estimate": Callers.ADMINS,
    "POST datastores/:source/transfer_to/:target": Callers.ADMINS,
    "GET datastores/:datastore_id/failed_deletes": Callers.ADMINS,
    "POST tasks/:task_id/cancel": Callers.ADMINS,
    "GET federation/test/:server_name": Callers.ADMINS,
    "GET usage/:server_name": Callers.ADMINS,
    "GET usage/:server_name/users": Callers.ADMINS,
    "GET usage/:server_name/users-stats": Callers.LOCAL_ADMINS,
    "GET usage/:server_name/uploads": Callers.ADMINS,
    "GET tasks/all": Callers.ADMINS,
    "GET tasks/unfinished": Callers.ADMINS,
    "GET tasks/:task_id": Callers.ADMINS,
    # With archiving.selfService the owners as well: tests/rest/admin/test_exports.py.
    "POST user/:user_id/export": Callers.ADMINS,
    "POST server/:server_name/export": Callers.ADMINS,
    # The id of the export is the secret.
    "GET export/:export_id/view": Callers.OPEN,
    "GET export/:export_id/metadata": Callers.OPEN,
    "GET export/:export_id/part/:part": Callers.OPEN,
    "DELETE export/:export_id": Callers.OPEN,
    "DELETE export/:export_id/delete": Callers.OPEN,
    "POST export/:export_id/delete": Callers.OPEN,
    "POST import": Callers.ADMINS,
    "POST import/:import_id/part": Callers.ADMINS,
    "POST import/:import_id/close": Callers.ADMINS,
    "GET media/:server/:media_id/attributes": Callers.LOCAL_ADMINS,
    "POST media/:server/:media_id/attributes": Callers.LOCAL_ADMINS,
    "POST media/:server/:media_id/attributes/set": Callers.LOCAL_ADMINS,
}
"""§3.3 with §11, and what is ours."""


def _admin_routes() -> Iterator[tuple[str, Callers]]:
    for line, callers in _ADMIN_ROUTES.items():
        method, _, rest = line.partition(" ")
        for prefix in ("r0", "v1", "v3", *_UNSTABLE):
            yield f"{method} /_matrix/media/{prefix}/admin/{rest}", callers
    for line, callers in _SYNAPSE_ROUTES.items():
        method, _, rest = line.partition(" ")
        yield f"{method} /_synapse/admin/v1/{rest}", callers


_TABLE = {
    _unnamed(line): callers
    for line, callers in (*_spec_routes(), *_extension_routes(), *_admin_routes())
}
