"""The server's admin API, spoken to from a program."""

from __future__ import annotations

import http.client
import json
import os
import urllib.parse
from collections.abc import Mapping
from typing import Any

from mmr.config import Config
from mmr.errors import ConfigError

_PREFIX = "/_matrix/media/unstable/admin"
# A purge answers when it is done.
_TIMEOUT_SECONDS = 3600
_ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class Refused(Exception):
    """The server didn't do it; the text says why."""


class AdminClient:
    """One server.

    Args:
        url: Its base URL.
        host: The homeserver that the requests are for.
        token: The shared secret, or an admin's access token.

    Raises:
        ConfigError: the URL is none.
    """

    def __init__(self, url: str, host: str, token: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"found {url!r}, expected http://… or https://…")
        self._parts = parts
        self.host = host
        self._token = token

    def get(self, path: str, **query: object) -> Any:
        """Read something.

        Args:
            path: Below the admin prefix, its parts quoted by `segment`.
            query: Parameters; None leaves one out.

        Raises:
            Refused: whatever the reason.
        """
        return self._call("GET", _PREFIX + path, query)

    def post(self, path: str, **query: object) -> Any:
        """Have something done. As `get`."""
        return self._call("POST", _PREFIX + path, query)

    def _call(self, method: str, path: str, query: Mapping[str, object]) -> Any:
        known = {name: value for name, value in query.items() if value is not None}
        if known:
            path += "?" + urllib.parse.urlencode(known)
        try:
            status, body = self._exchange(method, path)
        except (OSError, http.client.HTTPException) as error:
            raise Refused(
                f"{self._parts.geturl()} does not answer: {error}. Is the server"
                " running there? --url names another address."
            ) from error
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {}
        if status != 200:
            said = answer.get("error") if isinstance(answer, dict) else None
            raise Refused(f"the server answered {status}: {said or 'nothing readable'}")
        return answer

    def _exchange(self, method: str, path: str) -> tuple[int, bytes]:
        kind: type[http.client.HTTPConnection] = http.client.HTTPConnection
        if self._parts.scheme == "https":
            kind = http.client.HTTPSConnection
        connection = kind(
            str(self._parts.hostname), self._parts.port, timeout=_TIMEOUT_SECONDS
        )
        headers = {"Host": self.host, "Authorization": f"Bearer {self._token}"}
        try:
            connection.request(
                method, self._parts.path.rstrip("/") + path, None, headers
            )
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def client_for(config: Config, url: str | None, host: str | None) -> AdminClient:
    """The client for the server that has this configuration.

    Args:
        url: Where it is; None: where the configuration says it listens.
        host: One of its homeservers; None: the first.

    Raises:
        ConfigError: no secret to come in with, or no such homeserver.
    """
    if host is not None and host not in config.domains:
        names = ", ".join(config.domains)
        raise ConfigError(f"found {host!r}, expected one of: {names}", key="--host")
    token = os.environ.get("MMR_ADMIN_TOKEN")
    if not token:
        if not config.shared_secret_auth.enabled:
            raise ConfigError(
                "is off, and mmr-admin comes in by its token: set it to true, or put an"
                " admin's access token into the environment variable MMR_ADMIN_TOKEN",
                key="sharedSecretAuth.enabled",
            )
        token = config.shared_secret_auth.token
    if url is None:
        address = config.repo.bind_address
        address = _ANY_ADDRESS.get(address, address)
        if ":" in address:
            address = f"[{address}]"
        url = f"http://{address}:{config.repo.port}"
    return AdminClient(url, host or next(iter(config.domains)), token)


def segment(text: str) -> str:
    """One part of a path."""
    return urllib.parse.quote(text, safe="")
