"""Where the keys of other servers come from: the server itself, or a notary."""

from __future__ import annotations

import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from mmr.crypto.signing import BadJson, parse_json

FederationGet: TypeAlias = Callable[[str, str], Awaitable[bytes]]
"""Called with a server name and a path; asks that server, unsigned, and gives the body
of its 200 answer (128 KiB at most). Raises `KeysUnavailable` for anything else."""


class KeysUnavailable(Exception):
    """A server's keys can't be had now. The reason is for the log, not for clients."""


class KeyFetcher(Protocol):
    """One source of key documents."""

    async def fetch(self, server_name: str) -> dict[str, Any]:
        """The server's key document, unchecked but for `parse_json`.

        Raises:
            KeysUnavailable: the source has none.
        """
        ...


class OriginKeys:
    """Asks the server itself.

    Args:
        get: Asks a server.
    """

    def __init__(self, get: FederationGet) -> None:
        self._get = get

    async def fetch(self, server_name: str) -> dict[str, Any]:
        """What the server publishes."""
        return await _get_json(self._get, server_name, "/_matrix/key/v2/server")


class NotaryKeys:
    """Asks a notary, for servers that don't answer themselves.

    The server's own signature is what counts; the notary's isn't looked at, since TLS
    tells who answered.

    Args:
        get: Asks a server.
        notary: The notary's server name.
    """

    def __init__(self, get: FederationGet, notary: str) -> None:
        self._get = get
        self._notary = notary

    async def fetch(self, server_name: str) -> dict[str, Any]:
        """The document, of those that the notary has, that is valid longest."""
        if server_name == self._notary:
            raise KeysUnavailable("it is the notary itself")
        name = urllib.parse.quote(server_name, safe="")
        answer = await _get_json(
            self._get, self._notary, f"/_matrix/key/v2/query/{name}"
        )
        listed = answer.get("server_keys")
        documents = [
            one
            for one in (listed if isinstance(listed, list) else [])
            if isinstance(one, dict) and one.get("server_name") == server_name
        ]
        if not documents:
            raise KeysUnavailable(f"the notary {self._notary} doesn't have them")
        return max(documents, key=_valid_until)


def _valid_until(document: dict[str, Any]) -> int:
    value = document.get("valid_until_ts")
    return value if isinstance(value, int) else 0


async def _get_json(get: FederationGet, server_name: str, path: str) -> dict[str, Any]:
    try:
        return parse_json(await get(server_name, path))
    except BadJson as e:
        raise KeysUnavailable(f"{server_name} answered {path} badly: {e}") from e
