"""What is known about a token once it has been checked."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from mmr.errors import MatrixError, unknown_token
from mmr.types import server_of_user


@attrs.frozen(slots=True)
class Identity:
    """A definite yes: whose token it is."""

    user_id: str
    is_guest: bool = False


@attrs.frozen(slots=True)
class BadToken:
    """A definite no: the homeserver doesn't know the token.

    Attributes:
        soft_logout: The client should get a new token and keep its keys. Lost on the
            way, it would make clients throw their encryption keys away.
    """

    soft_logout: bool = False

    def error(self) -> MatrixError:
        """The 401 that tells the client."""
        error = unknown_token()
        if self.soft_logout:
            error.extra["soft_logout"] = True
        return error


Verdict: TypeAlias = Identity | BadToken


def is_user_of(user_id: str, server_name: str) -> bool:
    """Whether this is a valid id of a user of that server (R45).

    Args:
        user_id: From the homeserver or an application service.
        server_name: In lower case, as the configuration has it.
    """
    server = server_of_user(user_id)
    return server is not None and server.lower() == server_name
