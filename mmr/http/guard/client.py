"""The client for every name and URL that strangers can influence (R8 to R20)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import Any

import attrs

from mmr.http.guard.addresses import AddressGuard, Verdict
from mmr.http.guard.body import IncomingBody
from mmr.http.guard.budget import Budget, Slot
from mmr.http.guard.connection import GuardedConnection, Place
from mmr.http.guard.errors import FetchFailed, Step
from mmr.http.guard.head import ResponseHead
from mmr.http.guard.limits import Purpose
from mmr.http.guard.pool import IdleConnections
from mmr.http.guard.request import GuardedRequest
from mmr.http.guard.resolver import LOOKUP_SECONDS, Resolver
from mmr.http.guard.response import GuardedResponse
from mmr.http.guard.tls import TlsIdentity, TrustRoots
from mmr.http.guard.urls import check_port, parse_host, parse_url
from mmr.http.guard.waiting import within
from mmr.util.clock import Clock

DEFAULT_USER_AGENT = "matrix-media-repo"
MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_ADDRESSES = 100
_MAX_TRIES = 4
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")

Exchange = tuple[GuardedConnection, ResponseHead, IncomingBody]


def proxy_warning(environ: Mapping[str, str]) -> str | None:
    """What to log at the start when the environment names a proxy (R8)."""
    found = [name for name in environ if name.lower() in _PROXY_VARIABLES]
    if not any(environ[name] for name in found):
        return None
    return (
        f"{', '.join(sorted(found))} in the environment is not used: federation and URL"
        " previews connect directly, because only so the addresses that they reach can"
        " be checked. If outbound traffic must pass a proxy, let it intercept"
        " connections, and filter private addresses there."
    )


class GuardedClient:
    """Fetches what strangers point at, and nothing that is out of bounds.

    Args:
        reactor: The reactor.
        clock: The time.
        guard: Judges addresses.
        resolver: Looks names up.
        budget: Bounds the requests; clients may share one.
        trust_roots: Whose certificates count.
        user_agent: Sent unless a request has its own.
    """

    def __init__(
        self,
        reactor: Any,
        clock: Clock,
        guard: AddressGuard,
        resolver: Resolver,
        *,
        budget: Budget,
        trust_roots: TrustRoots,
        user_agent: str = DEFAULT_USER_AGENT,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        # Replaced when the configuration is reloaded.
        self.guard = guard
        self._resolver = resolver
        self._budget = budget
        self._trust_roots = trust_roots
        self._user_agent = user_agent
        self._idle = IdleConnections(clock)

    def close(self) -> None:
        """Close the idle connections."""
        self._idle.close()

    async def request(self, request: GuardedRequest) -> GuardedResponse:
        """Send one request; redirects are answers like any other.

        Raises:
            FetchFailed: names the step that failed.
            MatrixError: 503, when too many requests run and wait (R20).
        """
        return await self._request(request, self._deadline(request.purpose))

    async def fetch(
        self,
        url: str,
        purpose: Purpose,
        *,
        headers: Mapping[str, str] | None = None,
        schemes: Collection[str] = ("http", "https"),
        verify: bool = True,
        user: str | None = None,
        max_redirects: int = MAX_REDIRECTS,
    ) -> GuardedResponse:
        """GET a URL. Each redirect is a new guarded request with every check (R14).

        Args:
            url: As the stranger gave it.
            purpose: The limits; those of the whole chain if they have a total time.
            headers: More headers. ``Authorization`` stays with its origin.
            schemes: What is allowed, for redirects too.
            verify: Off: any certificate will do.
            user: Whoever caused it.
            max_redirects: Redirects followed at most.

        Returns:
            The first response that is no redirect; its ``url`` is where it came from.

        Raises:
            FetchFailed: names the step that failed.
            MatrixError: 503, when too many requests run and wait (R20).
        """
        deadline = self._deadline(purpose)
        sent = dict(headers or {})
        here = parse_url(url, schemes)
        for _ in range(max_redirects + 1):
            request = GuardedRequest.for_url(
                here, purpose, headers=sent, verify=verify, user=user
            )
            response = await self._request(request, deadline)
            if response.status not in _REDIRECTS:
                return response
            response.abort()
            there = here.join(_location(response), schemes)
            if there.origin != here.origin:
                sent = {n: v for n, v in sent.items() if n.lower() != "authorization"}
            here = there
        raise FetchFailed(Step.REDIRECT, f"more than {max_redirects} redirects")

    def _deadline(self, purpose: Purpose) -> float | None:
        if purpose.total_seconds is None:
            return None
        return self._clock.monotonic() + purpose.total_seconds

    def _left(self, deadline: float | None, seconds: float) -> float:
        if deadline is None:
            return seconds
        return min(seconds, deadline - self._clock.monotonic())

    async def _request(
        self, request: GuardedRequest, deadline: float | None
    ) -> GuardedResponse:
        data = request.encode(self._user_agent)
        check_port(request.port)
        host = parse_host(request.connect_host)
        request = attrs.evolve(request, connect_host=host)
        wait = None if deadline is None else self._left(deadline, float("inf"))
        slot = await self._budget.acquire(host, request.user, wait)
        try:
            exchange = await self._exchange(request, data, deadline)
        except BaseException:
            slot.release()
            raise
        return _response(request, exchange, slot)

    async def _exchange(
        self, request: GuardedRequest, data: bytes, deadline: float | None
    ) -> Exchange:
        places = await self._places(request, deadline)
        kept = self._idle.take(places)
        if kept is not None:
            try:
                return await self._send(kept, request, data, deadline)
            except FetchFailed as failure:
                # The peer may have hung up just as we wrote: then nothing was done.
                if kept.has_answered or failure.timed_out:
                    raise
        connection = await self._connect(places, request.purpose, deadline)
        return await self._send(connection, request, data, deadline)

    async def _places(
        self, request: GuardedRequest, deadline: float | None
    ) -> list[Place]:
        host = request.connect_host
        addresses = await self._look_up(host, deadline)
        verdicts = [self.guard.judge(address) for address in addresses]
        if Verdict.DENIED in verdicts:
            denied = addresses[verdicts.index(Verdict.DENIED)]
            raise FetchFailed(Step.DENIED, f"{host} is at {denied}")
        good = [a for a, v in zip(addresses, verdicts, strict=True) if _is_allowed(v)]
        if not good:
            raise FetchFailed(Step.DENIED, f"{host} is outside the allowed networks")
        tls_name = None
        if request.scheme == "https":
            tls_name = parse_host(request.tls_name or host)
        elif request.scheme != "http":
            raise FetchFailed(Step.URL, f"scheme {request.scheme[:20]!r}")
        return [
            Place(address, request.port, tls_name, request.verify)
            for address in _mixed(good)[:_MAX_TRIES]
        ]

    async def _look_up(self, host: str, deadline: float | None) -> list[str]:
        if _is_address(host):
            return [host]
        late = FetchFailed(Step.DNS, f"no answer for {host}", timed_out=True)
        limit = self._left(deadline, LOOKUP_SECONDS)
        addresses = await within(
            self._clock, limit, self._resolver.addresses(host), late
        )
        if not 0 < len(addresses) <= _MAX_ADDRESSES:
            raise FetchFailed(Step.DNS, f"{host} has {len(addresses)} addresses")
        return addresses

    async def _connect(
        self, places: list[Place], purpose: Purpose, deadline: float | None
    ) -> GuardedConnection:
        end = self._clock.monotonic() + self._left(deadline, purpose.connect_seconds)
        failure: FetchFailed | None = None
        for number, place in enumerate(places):
            # A dead address leaves time for the others.
            limit = (end - self._clock.monotonic()) / (len(places) - number)
            try:
                return await self._dial(place, limit)
            except FetchFailed as error:
                failure = error
        assert failure is not None
        raise failure

    async def _dial(self, place: Place, seconds: float) -> GuardedConnection:
        identity = None
        if place.tls_name is not None:
            identity = TlsIdentity(self._trust_roots, place.tls_name, place.verify)
        connection = GuardedConnection(self._clock, place, self._may_reach, identity)
        connection.idle = self._idle.put
        connection.gone = self._idle.forget

        async def dial() -> None:
            connection.dial(self._reactor, seconds)
            await connection.ready

        reason = f"{place.address} did not answer within {seconds:.1f} s"
        late = FetchFailed(Step.CONNECT, reason, timed_out=True)
        await within(self._clock, seconds, dial(), late)
        return connection

    def _may_reach(self, address: str) -> bool:
        return _is_allowed(self.guard.judge(address))

    async def _send(
        self,
        connection: GuardedConnection,
        request: GuardedRequest,
        data: bytes,
        deadline: float | None,
    ) -> Exchange:
        limit = request.headers_seconds or request.purpose.headers_seconds
        seconds = self._left(deadline, limit)
        reason = f"no response within {seconds:.1f} s"
        late = FetchFailed(Step.HEADERS, reason, timed_out=True)
        sending = connection.exchange(
            data,
            is_head=request.method == "HEAD",
            purpose=request.purpose,
            deadline=deadline,
        )
        head, body = await within(self._clock, seconds, sending, late)
        return connection, head, body


def _response(
    request: GuardedRequest, exchange: Exchange, slot: Slot
) -> GuardedResponse:
    connection, head, body = exchange
    return GuardedResponse(
        head,
        body,
        request.purpose,
        give_up=lambda: connection.give_up(body),
        done=slot.release,
        url=request.url,
    )


def _location(response: GuardedResponse) -> str:
    values = response.headers.get("location", [])
    if len(values) != 1:
        raise FetchFailed(Step.REDIRECT, f"{len(values)} Location headers")
    try:
        return values[0].encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        raise FetchFailed(Step.REDIRECT, "Location is not UTF-8") from None


def _is_allowed(verdict: Verdict) -> bool:
    return verdict is Verdict.ALLOWED


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _mixed(addresses: Iterable[str]) -> list[str]:
    """IPv6 and IPv4 in turns, so that a broken route to one of them costs one try."""
    first: dict[bool, list[str]] = {}
    for address in addresses:
        first.setdefault(":" in address, []).append(address)
    turns = chain.from_iterable(zip_longest(*first.values()))
    return [address for address in turns if address is not None]
