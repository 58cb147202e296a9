"""The field's own words as types: MXC URIs, server names, user ids, who is asking."""

from __future__ import annotations

import enum
import functools
import ipaddress
import re

import attrs

# Spec, "Matrix Content (mxc://) URIs"; 255 is MSC2703's bound. \Z, not $: a newline
# at the end is not part of an id (R70).
_MEDIA_ID = re.compile(r"[A-Za-z0-9_-]{1,255}\Z")
_HOST_AND_PORT = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,255})(?::(?P<port>[0-9]{1,5}))?\Z"
)
_MAX_SERVER_NAME = 230
_DOTTED_NUMBERS = re.compile(r"[0-9.]+\Z")
_MAX_USER_ID_BYTES = 255


def is_valid_media_id(media_id: str) -> bool:
    """Whether the text fits the specification's grammar for media ids."""
    return _MEDIA_ID.match(media_id) is not None


def split_server_name(server_name: str) -> tuple[str, int | None] | None:
    """Split a server name into host (IPv6 keeps its brackets) and port.

    Returns None when it doesn't fit the grammar (spec, "Server name").
    """
    match = _HOST_AND_PORT.match(server_name)
    if match is None or len(server_name) > _MAX_SERVER_NAME:
        return None
    host, port = match["host"], match["port"]
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return None
    elif _DOTTED_NUMBERS.match(host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return None
    if port is not None and int(port) > 65535:
        return None
    return host, int(port) if port is not None else None


def is_valid_server_name(server_name: str) -> bool:
    """Whether the text fits the specification's grammar for server names."""
    return len(server_name) <= _MAX_SERVER_NAME and _is_server_name(server_name)


@functools.lru_cache(maxsize=1024)
def _is_server_name(text: str) -> bool:
    return split_server_name(text) is not None


def server_of_user(user_id: str) -> str | None:
    """The server part of a valid user id, else None.

    Historical localparts may hold any printable ASCII but ``:`` (spec, "Historical
    User IDs").
    """
    localpart, colon, server = user_id.partition(":")
    if not colon or not localpart.startswith("@") or not is_valid_server_name(server):
        return None
    if not all("!" <= char <= "~" for char in localpart):
        return None
    return server if len(user_id.encode()) <= _MAX_USER_ID_BYTES else None


@attrs.frozen(slots=True)
class Mxc:
    """The address of one media: ``mxc://<origin>/<media_id>``."""

    origin: str
    media_id: str

    def __str__(self) -> str:
        return f"mxc://{self.origin}/{self.media_id}"

    @classmethod
    def parse(cls, uri: str) -> Mxc:
        """Read an MXC URI.

        Raises:
            ValueError: when a part doesn't fit its grammar.
        """
        origin, slash, media_id = uri.removeprefix("mxc://").partition("/")
        if not (uri.startswith("mxc://") and slash):
            raise ValueError(f"not an MXC URI: {uri!r}")
        if not (is_valid_server_name(origin) and is_valid_media_id(media_id)):
            raise ValueError(f"not a valid MXC URI: {uri!r}")
        return cls(origin, media_id)


class Kind(enum.Enum):
    """What an object in a datastore is for (``datastores[].forKinds``)."""

    LOCAL_MEDIA = "local_media"
    REMOTE_MEDIA = "remote_media"
    THUMBNAILS = "thumbnails"
    ARCHIVES = "archives"


class Method(enum.Enum):
    """How a thumbnail fits its box."""

    CROP = "crop"
    SCALE = "scale"


class Access(enum.Enum):
    """Who may call a route. Every route declares one (R48)."""

    ANYONE = "anyone"
    """No token is looked at, and any Host is served (``/healthz``)."""
    OPTIONAL = "optional"
    """A valid token identifies the caller; without one the caller is anonymous."""
    USER_OR_GUEST = "user or guest"
    USER = "user"
    REPO_ADMIN = "repository admin"
    FEDERATION = "federation"
    """A server, proven by ``X-Matrix``."""


@attrs.frozen(slots=True)
class Requester:
    """Who is asking, as proven by the request's credentials.

    Attributes:
        user_id: The user; None for servers and the anonymous.
        server: The remote server behind a federation request.
        is_guest: The homeserver says that the user is a guest.
        is_admin: A repository admin (``admins`` or the shared secret).
        is_shared_secret: The shared secret was used; ``user_id`` is ``@sharedsecret``.
        token: The access token, for the calls that are passed on (logout, whois).
    """

    user_id: str | None = None
    server: str | None = None
    is_guest: bool = False
    is_admin: bool = False
    is_shared_secret: bool = False
    token: str | None = attrs.field(default=None, repr=False)

    @property
    def is_authenticated(self) -> bool:
        """Whether anybody at all vouches for the caller."""
        return self.user_id is not None or self.server is not None

    @property
    def log_name(self) -> str:
        """The name in log lines, as Synapse prints it."""
        return self.user_id or self.server or "None"


ANONYMOUS = Requester()
