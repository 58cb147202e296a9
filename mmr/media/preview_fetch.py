"""Fetches what a preview is made of, through the guarded client (R8 to R20)."""

from __future__ import annotations

import enum
import functools
from typing import Any

from mmr.config import DomainConfig
from mmr.http.guard import (
    PREVIEW_BOUNDS,
    AddressGuard,
    Budget,
    FetchFailed,
    GuardedClient,
    GuardedResponse,
    Purpose,
    Resolver,
    Step,
    TrustRoots,
)
from mmr.util.clock import Clock

MAX_REQUESTS = 4
"""For one preview: page, oEmbed, pictures. Redirects are counted by themselves."""

# Some sites refuse whoever doesn't say what they take.
_ACCEPT = "text/html,application/xhtml+xml,*/*;q=0.8"


class Cause(enum.Enum):
    """Why there is no preview; it decides how long that is remembered."""

    LASTING = "lasting"
    """Refused, not there, or of a kind that has no preview."""
    PASSING = "passing"
    """The site, its name server or the way there is in trouble."""


class PreviewFailed(Exception):
    """There is no preview. The text is for the log; clients see one answer (R19)."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


_PASSING_STEPS = {Step.DNS, Step.CONNECT, Step.HEADERS, Step.BODY}


def from_fetch(failure: FetchFailed) -> PreviewFailed:
    """What a failed request means for the preview."""
    is_passing = failure.timed_out or failure.step in _PASSING_STEPS
    return PreviewFailed(Cause.PASSING if is_passing else Cause.LASTING, str(failure))


class PreviewClients:
    """One guarded client a homeserver: each has its own networks.

    Args:
        reactor: The reactor.
        clock: The time.
        resolver: Looks names up.
    """

    def __init__(self, reactor: Any, clock: Clock, resolver: Resolver) -> None:
        self._reactor = reactor
        self._clock = clock
        self._resolver = resolver
        self._budget = Budget(clock, PREVIEW_BOUNDS)
        # A homeserver that is removed from the configuration leaves an idle object.
        self._clients: dict[str, GuardedClient] = {}

    def close(self) -> None:
        """Close the idle connections."""
        for client in self._clients.values():
            client.close()

    def session(
        self, domain: DomainConfig, user_id: str | None, language: str
    ) -> PreviewSession:
        """What one preview may ask the web for, from now on."""
        return PreviewSession(
            self._client(domain), self._clock, domain, user_id, language
        )

    def _client(self, domain: DomainConfig) -> GuardedClient:
        settings = domain.url_previews
        guard = _guard(
            settings.allowed_networks,
            settings.disallowed_networks,
            settings.exempt_networks,
        )
        client = self._clients.get(domain.name)
        if client is None:
            client = self._clients[domain.name] = GuardedClient(
                self._reactor,
                self._clock,
                guard,
                self._resolver,
                budget=self._budget,
                trust_roots=self._trust_roots,
            )
        client.guard = guard
        return client

    @functools.cached_property
    def _trust_roots(self) -> TrustRoots:
        return TrustRoots()


@functools.lru_cache(maxsize=100)
def _guard(
    allowed: tuple[str, ...], disallowed: tuple[str, ...], exempt: tuple[str, ...]
) -> AddressGuard:
    return AddressGuard(allowed, disallowed, exempt)


class PreviewSession:
    """The requests of one preview: so many, within one time."""

    def __init__(
        self,
        client: GuardedClient,
        clock: Clock,
        domain: DomainConfig,
        user_id: str | None,
        language: str,
    ) -> None:
        self._client = client
        self._clock = clock
        self._user_id = user_id
        self._verify = not domain.url_previews.preview_unsafe_certificates
        self._headers = {
            "User-Agent": _header_value(domain.url_previews.user_agent),
            "Accept": _ACCEPT,
            "Accept-Language": _header_value(language),
        }
        seconds = domain.timeouts.url_preview_timeout_seconds
        self._deadline = clock.monotonic() + seconds
        self.requests_left = MAX_REQUESTS

    async def get(
        self, url: str, *, max_bytes: int, expands: bool = False
    ) -> GuardedResponse:
        """Ask for a URL. The response is 200; its body is still to be read.

        Args:
            url: As a stranger gave it.
            max_bytes: The longest body that is read.
            expands: Take a compressed one (pages only, R17).

        Raises:
            PreviewFailed: for anything else.
            MatrixError: 503, when too many requests run and wait (R20).
        """
        if self.requests_left == 0:
            raise PreviewFailed(Cause.LASTING, f"more than {MAX_REQUESTS} requests")
        self.requests_left -= 1
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise PreviewFailed(Cause.PASSING, "no time is left")
        purpose = Purpose(
            "preview", max_bytes=max_bytes, total_seconds=left, expands=expands
        )
        try:
            response = await self._client.fetch(
                url,
                purpose,
                headers=self._headers,
                verify=self._verify,
                user=self._user_id,
            )
        except FetchFailed as failure:
            raise from_fetch(failure) from failure
        if response.status != 200:
            response.abort()
            is_passing = response.status == 429 or response.status >= 500
            cause = Cause.PASSING if is_passing else Cause.LASTING
            raise PreviewFailed(cause, f"status {response.status}")
        return response


async def read_start(response: GuardedResponse, max_bytes: int) -> bytes:
    """The body, or as much of it as is wanted; the rest is not waited for.

    Raises:
        PreviewFailed: it broke off before.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in response:
            pieces.append(piece)
            size += len(piece)
            if size >= max_bytes:
                response.abort()
                break
    except FetchFailed as failure:
        raise from_fetch(failure) from failure
    return b"".join(pieces)[:max_bytes]


async def read_whole(response: GuardedResponse, max_bytes: int) -> bytes:
    """The whole body.

    Raises:
        PreviewFailed: it is longer, or broke off.
    """
    try:
        return await response.read(max_bytes)
    except FetchFailed as failure:
        raise from_fetch(failure) from failure


def _header_value(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text)
