"""Reads the access token out of a request (API reference 2.1, R44)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import attrs

from twisted.web.http_headers import Headers

from mmr.config import DomainConfig
from mmr.errors import MatrixError, invalid_param
from mmr.types import Requester, server_of_user

_BEARER = "Bearer "
# What fits a header as one word. The longest tokens in use are JWTs of a few KiB.
_TOKEN = re.compile(r"[!-~]{1,8192}\Z")


class AuthQuery(Protocol):
    """The part of a parsed query that is needed here."""

    def get_all(self, name: str) -> Sequence[str]:
        """All values of a parameter, decoded."""
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
    def requestHeaders(self) -> Headers:
        """The headers."""
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
    headers = request.requestHeaders.getRawHeaders("authorization")
    if headers is None:
        token = _only(request.query.get_all("access_token"))
    else:
        header = _only(headers) or ""
        token = header[len(_BEARER) :] if header.startswith(_BEARER) else None
    if not token:
        return None
    # Several of them name the users that an admin asks about (usage).
    users = request.query.get_all("user_id")
    asserted = users[0] if len(users) == 1 else None
    if asserted and server_of_user(asserted) is None:
        raise invalid_param("user_id is not a valid user ID")
    return Credentials(token, asserted or None)


def _only(values: Sequence[str]) -> str | None:
    # A proxy and we must not pick different ones.
    if len(values) > 1:
        raise MatrixError(401, "M_MISSING_TOKEN", "more than one token provided")
    return values[0] if values else None
