"""Requests to other servers: over every route, signed, within back-off."""

from __future__ import annotations

import random
from typing import Protocol

import attrs

from mmr.config import DomainConfig
from mmr.federation.back_off import BackOff
from mmr.federation.discovery import Discovery, Route
from mmr.federation.errors import (
    Cause,
    RemoteAnswered,
    RemoteFailed,
    from_fetch,
)
from mmr.federation.switches import Switches
from mmr.http.guard import (
    FetchFailed,
    GuardedClient,
    GuardedRequest,
    GuardedResponse,
    Purpose,
    Step,
    parse_url,
)
from mmr.util.clock import Clock

MAX_ERROR_BYTES = 64 * 1024
_REDIRECTS = {301, 302, 303, 307, 308}
# Before these nothing was sent: another route, or the same one a little later, may do.
_NOT_SENT = {Step.DNS, Step.DENIED, Step.CONNECT, Step.TLS}
_RETRY_DELAYS_S = (0.5, 1.0)
_JITTER = (0.8, 1.4)


class Signer(Protocol):
    """Signs as one of our homeservers (`mmr.crypto.request_signer`)."""

    async def sign(self, method: str, target: str, destination: str) -> bytes:
        """The ``Authorization`` header."""
        ...


class Signers(Protocol):
    """Has a signer for each of them."""

    def get(self, domain: DomainConfig) -> Signer:
        """The one of this homeserver."""
        ...


@attrs.frozen
class FederationRequest:
    """What to ask another server.

    Attributes:
        destination: Its server name.
        target: Path and query exactly as sent, and as signed.
        purpose: The limits.
        signed_by: The homeserver in whose name it is signed; None: unsigned.
        follows: Redirects are followed, unsigned.
        heeds_back_off: Whether a server that is left alone is left alone by this too,
            and whether the outcome counts.
        user: Whoever caused it, for the bounds per user (R20).
    """

    destination: str
    target: str
    purpose: Purpose
    signed_by: DomainConfig | None = None
    follows: bool = False
    heeds_back_off: bool = True
    user: str | None = None


class FederationClient:
    """Sends requests to servers by their names.

    Args:
        client: Guards addresses and limits (R8).
        discovery: Finds servers.
        back_off: Knows which ones are left alone.
        signers: Sign.
        clock: The time.
        switches: How.
        rng: Spreads retries.
    """

    def __init__(
        self,
        *,
        client: GuardedClient,
        discovery: Discovery,
        back_off: BackOff,
        signers: Signers,
        clock: Clock,
        switches: Switches,
        rng: random.Random,
    ) -> None:
        self._client = client
        self._discovery = discovery
        self._back_off = back_off
        self._signers = signers
        self._clock = clock
        self._switches = switches
        self._rng = rng

    async def get(self, request: FederationRequest) -> GuardedResponse:
        """Ask; the answer has status 200, and its body is still to come.

        Raises:
            RemoteFailed: it has not, or there is none.
            ConfigError: the request can't be signed (R60).
            MatrixError: 503: too many requests run and wait (R20).
        """
        if not request.heeds_back_off:
            return await self._ask(request)
        await self._back_off.check(request.destination)
        started_ts = self._clock.time_ms()
        try:
            response = await self._ask(request)
        except RemoteFailed as failure:
            if failure.is_servers_fault:
                self._back_off.failed(request.destination, started_ts)
            elif isinstance(failure, RemoteAnswered):
                self._back_off.succeeded(request.destination)
            raise
        self._back_off.succeeded(request.destination)
        return response

    async def read(self, request: FederationRequest) -> bytes:
        """Ask for a document: the whole body, within the limit of the purpose.

        Raises:
            RemoteFailed: likewise, or it is too long.
        """
        limit = request.purpose.max_bytes or MAX_ERROR_BYTES
        async with await self.get(request) as response:
            try:
                return await response.read(limit)
            except FetchFailed as failure:
                raise from_fetch(failure) from failure

    async def follow(
        self, url: str, purpose: Purpose, user: str | None = None
    ) -> GuardedResponse:
        """Fetch a URL that a server pointed at: unsigned, with every check (R14).

        Returns:
            An answer with status 200.

        Raises:
            RemoteFailed: with the step ``location``.
        """
        try:
            response = await self._client.fetch(
                url,
                purpose,
                schemes=(self._switches.scheme,),
                verify=not self._switches.unsafe,
                user=user,
            )
        except FetchFailed as failure:
            raise from_fetch(failure, "location") from failure
        if response.status != 200:
            response.abort()
            detail = f"answered {response.status}"
            raise RemoteFailed(Cause.BROKEN, "location", detail)
        return response

    async def _ask(self, request: FederationRequest) -> GuardedResponse:
        headers: dict[str, str] = {}
        if request.signed_by is not None:
            signer = self._signers.get(request.signed_by)
            signed = await signer.sign("GET", request.target, request.destination)
            headers["Authorization"] = signed.decode("ascii")
        routes = await self._discovery.resolve(request.destination)
        response, route = await self._send(request, routes, headers)
        if response.status == 200:
            return response
        if request.follows and response.status in _REDIRECTS:
            return await self._follow_answer(request, response, route)
        raise await _answered(response)

    async def _send(
        self, request: FederationRequest, routes: list[Route], headers: dict[str, str]
    ) -> tuple[GuardedResponse, Route]:
        """Send over the routes in turn, and again after a moment if all refuse."""
        for delay in _RETRY_DELAYS_S:
            try:
                return await self._send_once(request, routes, headers)
            except FetchFailed as failure:
                if failure.step is not Step.CONNECT or failure.timed_out:
                    raise from_fetch(failure) from failure
            await self._clock.sleep(delay * self._rng.uniform(*_JITTER))
        try:
            return await self._send_once(request, routes, headers)
        except FetchFailed as failure:
            raise from_fetch(failure) from failure

    async def _send_once(
        self, request: FederationRequest, routes: list[Route], headers: dict[str, str]
    ) -> tuple[GuardedResponse, Route]:
        first: FetchFailed | None = None
        for route in routes:
            try:
                sent = self._guarded(request, route, headers)
                return await self._client.request(sent), route
            except FetchFailed as failure:
                if failure.step not in _NOT_SENT:
                    raise
                # The first one tells most: the best route is tried first.
                first = first or failure
        assert first is not None
        raise first

    def _guarded(
        self, request: FederationRequest, route: Route, headers: dict[str, str]
    ) -> GuardedRequest:
        return GuardedRequest(
            purpose=request.purpose,
            scheme=self._switches.scheme,
            connect_host=route.connect_host,
            port=route.port,
            target=request.target,
            host_header=route.host_header,
            tls_name=route.tls_name,
            headers=headers,
            verify=not self._switches.unsafe,
            user=request.user,
        )

    async def _follow_answer(
        self, request: FederationRequest, response: GuardedResponse, route: Route
    ) -> GuardedResponse:
        location = response.header("location") or ""
        response.abort()
        host = f"[{route.tls_name}]" if ":" in route.tls_name else route.tls_name
        scheme = self._switches.scheme
        try:
            here = parse_url(f"{scheme}://{host}:{route.port}{request.target}")
            there = here.join(location, (scheme,))
        except FetchFailed as failure:
            raise from_fetch(failure, "location") from failure
        return await self.follow(str(there), request.purpose, request.user)


async def _answered(response: GuardedResponse) -> RemoteAnswered:
    """The error that an answer is. A body that can't be read is as good as none."""
    async with response:
        try:
            body = await response.read(MAX_ERROR_BYTES)
        except FetchFailed:
            body = b""
        return RemoteAnswered.with_body(response.status, body)
