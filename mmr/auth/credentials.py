"""Reads the access token out of a request (API reference 2.1, R44)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import attrs

from mmr.config import DomainConfig
from mmr.errors import MatrixError, invalid_param
from mmr.types import Requester, server_of_user

T = TypeVar("T")

_BEARER = b"Bearer "
# What fits a header as one word. The longest tokens in use are JWTs of a few KiB.
_TOKEN = re.compile(r"[!-~]{1,8192}\Z")


class AuthQuery(Protocol):
    """The part of a parsed query that is needed here."""

    def texts(self, name: str) -> Sequence[str]:
        """All values of a parameter, decoded."""
        ...


class AuthHead(Protocol):
    """The part of a request's head that is needed here."""

    @property
    def method(self) -> bytes:
        """Such as ``GET``."""
        ...

    @property
    def target(self) -> bytes:
        """Path and query as they came."""
        ...

    @property
    def headers(self) -> Mapping[bytes, Sequence[bytes]]:
        """All values of each header, by lower-cased name."""
        ...


class AuthRequest(Protocol):
    """The part of a request that is needed here."""

    @property
    def domain(self) -> DomainConfig:
        """The homeserver that the request is for."""
        ...

    @property
    def client_address(self) -> str:
        """The client's IP address."""
        ...

    @property
    def query(self) -> AuthQuery:
        """The parsed query."""
        ...

    @property
    def requester(self) -> Requester:
        """Who was found to be asking, once authenticated."""
        ...

    @property
    def head(self) -> AuthHead:
        """The request's head."""
        ...


@attrs.frozen(slots=True)
class Credentials:
    """A token, and the user whom an application service wants to be.

    Attributes:
        token: The access token as sent.
        asserted: The query's ``user_id``, a valid user id.
    """

    token: str = attrs.field(repr=False)
    asserted: str | None = None

    @property
    def is_well_formed(self) -> bool:
        """Whether the token can be sent on; if not, it is nobody's token."""
        return _TOKEN.match(self.token) is not None


def read_credentials(request: AuthRequest) -> Credentials | None:
    """The request's token; None when it has none.

    A header that isn't ``Bearer`` means no token, and the query isn't looked at.

    Raises:
        MatrixError: 401 for two headers or two parameters; 400 for a ``user_id``
            that is none.
    """
    headers = request.head.headers.get(b"authorization")
    if headers is None:
        token = _only(request.query.texts("access_token"))
    else:
        header = _only(headers) or b""
        bearer = header.startswith(_BEARER)
        token = header[len(_BEARER) :].decode("latin-1") if bearer else None
    if not token:
        return None
    # Several of them name the users that an admin asks about (usage).
    users = request.query.texts("user_id")
    asserted = users[0] if len(users) == 1 else None
    if asserted and server_of_user(asserted) is None:
        raise invalid_param("user_id is not a valid user ID")
    return Credentials(token, asserted or None)


def _only(values: Sequence[T]) -> T | None:
    # A proxy and we must not pick different ones.
    if len(values) > 1:
        raise MatrixError(401, "M_MISSING_TOKEN", "more than one token provided")
    return values[0] if values else None
