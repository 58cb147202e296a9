"""The calls to a homeserver that answers for its users' tokens (API reference 2.4)."""

from __future__ import annotations

import logging
from typing import Any, TypeAlias

import attrs

from mmr.auth.breaker import Breaker, BreakerOpen
from mmr.auth.identity import BadToken, Identity, Verdict, is_user_of
from mmr.config import DomainConfig
from mmr.errors import (
    MatrixError,
    bad_request,
    forbidden,
    guests_forbidden,
    not_found,
    rate_limited,
    unavailable,
)
from mmr.http.client import (
    MAX_JSON_BYTES,
    TrustedClient,
    UpstreamUnavailable,
    quote_segment,
)
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

_USER_AGENT = "matrix-media-repo"
# MMR's cap per call, whatever clientServerTimeoutSeconds says.
_LONGEST_CALL_SECONDS = 60
# The homeserver reads the room's whole history.
_ROOM_MEDIA_SECONDS = 300
# A quarter of a million URIs.
_MAX_ROOM_MEDIA_BYTES = 16 * 1024 * 1024
_DEFAULT_RETRY_MS = 1000
_MEDIA_AUTH_VERSION = "v1.11"

Answer: TypeAlias = tuple[int, dict[str, Any]]


@attrs.frozen
class RoomMedia:
    """The media in the unencrypted events of a room, as MXC URIs.

    Attributes:
        local: Of the homeserver itself.
        remote: Of all others.
    """

    local: tuple[str, ...]
    remote: tuple[str, ...]


class HomeserverClient:
    """One homeserver, asked on behalf of its users.

    Args:
        domain: The homeserver's configuration: where it is, when to back off.
        client: For the requests.
        clock: For the breakers.
    """

    def __init__(
        self, domain: DomainConfig, client: TrustedClient, clock: Clock
    ) -> None:
        self.domain = domain
        self._client = client
        self._breaker = Breaker(domain.backoff_at, clock)
        # Of its own: probes for admin rights never keep users from logging in (D34).
        self._admin_breaker = Breaker(domain.backoff_at, clock)
        # Slow calls may time out where quick ones don't.
        self._room_breaker = Breaker(domain.backoff_at, clock)

    async def whoami(
        self, token: str, user_id: str | None, client_address: str
    ) -> Verdict:
        """Ask whose token this is.

        Args:
            token: The access token.
            user_id: The user whom an application service wants to act for.
            client_address: Passed on for the homeserver's records.

        Raises:
            MatrixError: 403 or 429 passed on; 403 for a user of another server (R45);
                502 or 503 when the homeserver is unreachable.
        """
        status, body = await self._call(
            "GET",
            "/_matrix/client/v3/account/whoami",
            token,
            client_address,
            user_id=user_id,
            expects="user_id",
        )
        if status == 200:
            return self._identity(body)
        if status == 401 and body.get("errcode") == "M_UNKNOWN_TOKEN":
            return BadToken(body.get("soft_logout") is True)
        raise self._refused(status, body)

    async def logout(
        self, token: str, user_id: str, client_address: str, *, everywhere: bool
    ) -> None:
        """End the token's session, or all sessions of its user.

        Raises:
            MatrixError: as `whoami`; 401 when the token is unknown.
        """
        path = "/_matrix/client/v3/logout" + ("/all" if everywhere else "")
        status, body = await self._call(
            "POST", path, token, client_address, user_id=user_id
        )
        if status != 200:
            raise self._refused(status, body)

    async def versions(self, token: str | None, client_address: str) -> dict[str, Any]:
        """The specification versions, ``v1.11`` among them: we serve its endpoints.

        Raises:
            MatrixError: as `whoami`.
        """
        status, body = await self._call(
            "GET", "/_matrix/client/versions", token, client_address
        )
        if status != 200:
            raise self._refused(status, body)
        versions, features = body.get("versions"), body.get("unstable_features")
        versions = list(versions) if isinstance(versions, list) else []
        if _MEDIA_AUTH_VERSION not in versions:
            versions.append(_MEDIA_AUTH_VERSION)
        features = features if isinstance(features, dict) else {}
        return {"versions": versions, "unstable_features": features}

    async def is_local_admin(self, token: str, client_address: str) -> bool:
        """Whether the homeserver lets this token look at its users (reference 2.5).

        Any error means no. The answer is not cached.
        """
        user = quote_segment(f"@media.repo.admin.check:{self.domain.name}")
        path = f"/_matrix/client/v3/admin/whois/{user}"
        if self.domain.admin_api_kind == "synapse":
            path = f"/_synapse/admin/v1/whois/{user}"
        return await self._admin_status(path, token, client_address) == 200

    async def is_unknown_user(
        self, user_id: str, token: str, client_address: str
    ) -> bool:
        """Whether a Synapse says to its admin that it has no such user.

        Any error means no, and so does another kind of homeserver: nobody can tell.
        """
        if self.domain.admin_api_kind != "synapse":
            return False
        path = f"/_synapse/admin/v2/users/{quote_segment(user_id)}"
        return await self._admin_status(path, token, client_address) == 404

    async def _admin_status(
        self, path: str, token: str, client_address: str
    ) -> int | None:
        """The status that the admin API answers with; None after an error."""
        try:
            status, _ = await self._call(
                "GET", path, token, client_address, breaker=self._admin_breaker
            )
        except MatrixError:
            return None
        return status

    async def room_media(
        self, room_id: str, token: str, client_address: str
    ) -> RoomMedia:
        """Ask which media a room has (reference 2.5). Takes up to five minutes.

        Args:
            room_id: As the caller gave it; it goes out as one path segment (R76).
            token: Of an admin of the homeserver.

        Raises:
            MatrixError: 403 when the homeserver doesn't take the token for an admin's;
                404 for a room that it doesn't know; 400 for a kind of homeserver that
                has no such list; else as `whoami`.
        """
        if self.domain.admin_api_kind != "synapse":
            raise bad_request(
                "The homeserver can't list the media of a room: its adminApiKind is"
                f" {self.domain.admin_api_kind}, and only synapse can"
            )
        try:
            room = quote_segment(room_id)
        except ValueError as error:
            raise bad_request("Invalid room ID", "M_INVALID_PARAM") from error
        status, body = await self._call(
            "GET",
            f"/_synapse/admin/v1/room/{room}/media",
            token,
            client_address,
            breaker=self._room_breaker,
            timeout_s=_ROOM_MEDIA_SECONDS,
            max_bytes=_MAX_ROOM_MEDIA_BYTES,
        )
        if status == 404:
            raise not_found("Room not found")
        if status != 200:
            raise self._refused(status, body)
        return RoomMedia(_texts(body.get("local")), _texts(body.get("remote")))

    async def admin_get(
        self, path: str, token: str, client_address: str
    ) -> dict[str, Any]:
        """Read something of the homeserver's own admin API.

        Args:
            path: With its query; ids in it quoted by `quote_segment`.
            token: Of an admin of the homeserver.

        Raises:
            MatrixError: 403 when it isn't one's; else as `whoami`.
        """
        status, body = await self._call(
            "GET", path, token, client_address, breaker=self._admin_breaker
        )
        if status != 200:
            raise self._refused(status, body)
        return body

    def _identity(self, body: dict[str, Any]) -> Identity:
        user_id: str = body["user_id"]
        if not is_user_of(user_id, self.domain.name):
            logger.error(
                "Refused a token: %s says that it belongs to %s, which is no user of"
                " %s. Is csApi of homeserver %s right?",
                self.domain.cs_api,
                user_id,
                self.domain.name,
                self.domain.name,
            )
            raise forbidden("This user belongs to another server")
        guest = body.get("is_guest", body.get("org.matrix.msc3069.is_guest"))
        return Identity(user_id, guest is True)

    def _refused(self, status: int, body: dict[str, Any]) -> MatrixError:
        """What an answer other than 200 means for our caller."""
        if status == 401:
            errcode = body.get("errcode")
            error = BadToken(body.get("soft_logout") is True).error()
            if errcode == "M_USER_LOCKED":
                error.errcode = errcode
            return error
        if status == 403:
            if body.get("errcode") == "M_GUEST_ACCESS_FORBIDDEN":
                return guests_forbidden()
            return forbidden()
        if status == 429:
            retry = body.get("retry_after_ms")
            return rate_limited(retry if isinstance(retry, int) else _DEFAULT_RETRY_MS)
        return self._unreachable(f"answered {status}")

    async def _call(
        self,
        method: str,
        path: str,
        token: str | None,
        client_address: str,
        *,
        user_id: str | None = None,
        expects: str | None = None,
        breaker: Breaker | None = None,
        timeout_s: float | None = None,
        max_bytes: int = MAX_JSON_BYTES,
    ) -> Answer:
        """Call, through a breaker. With ``expects``, a 200 must have that text."""

        async def send() -> Answer:
            answer = await self._send(
                method,
                path,
                token,
                client_address,
                user_id,
                timeout_s or self._timeout_s,
                max_bytes,
            )
            if expects and answer[0] == 200 and not _has_text(answer[1], expects):
                raise UpstreamUnavailable(f"answered 200 without {expects}")
            return answer

        try:
            return await (breaker or self._breaker).call(send)
        except BreakerOpen as e:
            raise unavailable("Homeserver unreachable. Try again later.", 503) from e
        except UpstreamUnavailable as e:
            raise self._unreachable(e.reason) from e

    @property
    def _timeout_s(self) -> float:
        timeout = self.domain.timeouts.client_server_timeout_seconds
        if 0 < timeout < _LONGEST_CALL_SECONDS:
            return timeout
        return _LONGEST_CALL_SECONDS

    async def _send(
        self,
        method: str,
        path: str,
        token: str | None,
        client_address: str,
        user_id: str | None,
        timeout_s: float,
        max_bytes: int,
    ) -> Answer:
        status, body = await self._client.request_json(
            method,
            self.domain.cs_api + path,
            token=token,
            params={"user_id": user_id} if user_id is not None else None,
            headers={
                "User-Agent": _USER_AGENT,
                "Content-Type": "application/json; charset=UTF-8",
                "X-Forwarded-For": client_address,
                "X-Real-IP": client_address,
            },
            timeout_s=timeout_s,
            max_bytes=max_bytes,
        )
        if status >= 500:
            raise UpstreamUnavailable(f"answered {status}")
        return status, body

    def _unreachable(self, reason: str) -> MatrixError:
        logger.warning(
            "Homeserver unreachable: %s at %s: %s. If the address is wrong, change"
            " csApi of homeserver %s.",
            self.domain.name,
            self.domain.cs_api,
            reason,
            self.domain.name,
        )
        return unavailable("Homeserver unreachable. Try again later.", 502)


def _texts(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, str))


def _has_text(body: dict[str, Any], key: str) -> bool:
    return isinstance(body.get(key), str)


class HomeserverClients:
    """The client of each configured homeserver, kept while its configuration is.

    A changed configuration starts with a fresh breaker: the operator has just mended
    what was wrong.

    Args:
        client: For the requests.
        clock: For the breakers.
    """

    def __init__(self, client: TrustedClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        # One entry per configured homeserver.
        self._clients: dict[str, HomeserverClient] = {}

    def get(self, domain: DomainConfig) -> HomeserverClient:
        """The client for this homeserver."""
        known = self._clients.get(domain.name)
        if known is None or known.domain is not domain:
            known = HomeserverClient(domain, self._client, self._clock)
            self._clients[domain.name] = known
        return known
