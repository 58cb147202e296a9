"""From a server name to the places where that server is (matrix-media-spec §10)."""

from __future__ import annotations

import random
from ipaddress import IPv4Address

import attrs

from mmr.federation.errors import Cause, RemoteFailed
from mmr.federation.expiring import Expiring
from mmr.federation.srv import in_order
from mmr.federation.well_known import WellKnowns
from mmr.http.guard import FetchFailed, Resolver, SrvTarget
from mmr.types import split_server_name
from mmr.util.clock import Clock
from mmr.util.single_flight import SingleFlight

DEFAULT_PORT = 8448
_SERVICES = ("_matrix-fed._tcp", "_matrix._tcp")
_MAX_ENTRIES = 10_000
_SRV_S = 300.0


@attrs.frozen
class Route:
    """One place to ask.

    Attributes:
        connect_host: Name or IP address (IPv6 without brackets).
        port: Where.
        host_header: Sent as ``Host``.
        tls_name: Whose certificate it has to be.
    """

    connect_host: str
    port: int
    host_header: str
    tls_name: str


@attrs.frozen
class DiscoveryStep:
    """One step, for the admin's federation test."""

    step: str
    result: str


@attrs.frozen
class Found:
    """Where a server is.

    Attributes:
        routes: In the order in which they are to be tried; at least one.
        steps: How they were found.
    """

    routes: tuple[Route, ...]
    steps: tuple[DiscoveryStep, ...]


class Discovery:
    """Finds servers. Concurrent calls for one name share the work.

    Args:
        well_knowns: Asks for delegations.
        resolver: For SRV; addresses are looked up when connecting (R11).
        clock: The time.
        rng: For the weights of SRV targets.
    """

    def __init__(
        self,
        well_knowns: WellKnowns,
        resolver: Resolver,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._well_knowns = well_knowns
        self._resolver = resolver
        self._rng = rng
        self._services: Expiring[str, list[SrvTarget]] = Expiring(clock, _MAX_ENTRIES)
        self._flights: SingleFlight[str, Found] = SingleFlight(is_dropped=True)

    async def resolve(self, server_name: str) -> list[Route]:
        """The places to try, in order; at least one.

        Raises:
            RemoteFailed: it is no server name.
        """
        return list((await self.explain(server_name)).routes)

    async def explain(self, server_name: str) -> Found:
        """The places, and how they were found.

        Raises:
            RemoteFailed: it is no server name.
        """
        return await self._flights.run(server_name, lambda: self._find(server_name))

    async def _find(self, server_name: str) -> Found:
        steps: list[DiscoveryStep] = []
        routes = _direct(server_name, steps)
        if routes is None:
            routes = await self._find_delegated(server_name, steps)
        return Found(tuple(routes), tuple(steps))

    async def _find_delegated(
        self, host: str, steps: list[DiscoveryStep]
    ) -> list[Route]:
        known = await self._well_knowns.get(host)
        if known.delegate is None:
            steps.append(DiscoveryStep("well-known", f"no delegation: {known.detail}"))
            return await self._find_service(host, steps)
        result = f"{known.delegate} ({known.detail})"
        steps.append(DiscoveryStep("well-known", result))
        routes = _direct(known.delegate, steps)
        return routes or await self._find_service(known.delegate, steps)

    async def _find_service(self, host: str, steps: list[DiscoveryStep]) -> list[Route]:
        for service in _SERVICES:
            name = f"{service}.{host}"
            try:
                targets = await self._look_up(name)
            # Some name servers fail for every name that they don't know.
            except FetchFailed as failure:
                steps.append(DiscoveryStep(f"SRV {name}", str(failure)))
                continue
            if targets:
                ordered = in_order(targets, self._rng)
                listed = ", ".join(f"{t.host}:{t.port}" for t in ordered)
                steps.append(DiscoveryStep(f"SRV {name}", listed))
                return [Route(t.host, t.port, host, host) for t in ordered]
            steps.append(DiscoveryStep(f"SRV {name}", "none"))
        steps.append(DiscoveryStep("default port", f"{host}:{DEFAULT_PORT}"))
        return [Route(host, DEFAULT_PORT, host, host)]

    async def _look_up(self, name: str) -> list[SrvTarget]:
        targets = self._services.get(name)
        if targets is None:
            targets = await self._resolver.srv(name)
            self._services.put(name, targets, _SRV_S)
        return targets


def _direct(server_name: str, steps: list[DiscoveryStep]) -> list[Route] | None:
    """The route of a name that needs no look-up: an IP literal, or with a port."""
    parts = split_server_name(server_name)
    if parts is None:
        raise RemoteFailed(Cause.NOT_FOUND, "server name", "malformed")
    host, port = parts
    if _is_literal(host):
        steps.append(DiscoveryStep("IP literal", server_name))
        address = host.strip("[]")
        return [Route(address, port or DEFAULT_PORT, server_name, address)]
    if port is not None:
        steps.append(DiscoveryStep("explicit port", server_name))
        return [Route(host, port, server_name, host)]
    return None


def _is_literal(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return host.startswith("[")
    return True
