"""The site: accepts connections within limits, watches them, and lets them end."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import ServerFactory

from mmr.errors import MatrixError
from mmr.http.access_log import AccessLog
from mmr.http.addresses import ClientAddresses, address_group
from mmr.http.admission import Limits, NoLimits
from mmr.http.channel import MediaChannel
from mmr.http.dispatch import Dispatcher, RequestGuard
from mmr.http.head import HeadReader
from mmr.http.host import HostFinder
from mmr.http.limits import HttpLimits
from mmr.http.request import MediaRequest
from mmr.http.routing import Router
from mmr.util.clock import Clock

if TYPE_CHECKING:
    from mmr.config import DomainConfig

logger = logging.getLogger(__name__)

_SWEEP_SECONDS = 1.0
# When the server is full, clients that only wait must go sooner.
_HASTE_WHEN_FULL = 0.1

Observer = Callable[[MediaRequest], None]


class PausedPort(Protocol):
    """A port that stopped accepting because the site is full."""

    connected: bool

    def startReading(self) -> None:
        """Accept again."""
        ...


class MediaSite(ServerFactory):
    """Serves HTTP/1.x.

    Args:
        router: The routes.
        config_for_host: The configuration of a lower-case server name.
        configured_hosts: All such names, for the log.
        guard: Decides who may pass.
        clock: Time and timers.
        access_log: Gets every request; None: no log.
        addresses: Finds clients' addresses behind proxies.
        use_forwarded_host: ``repo.useForwardedHost``.
        limits: What strangers may cost.
        caller_limits: Count requests and bytes of callers; None: nobody does.
        observers: Called with each request that is over, for metrics.

    Attributes:
        connections: All that are open.
    """

    noisy = False

    def __init__(
        self,
        *,
        router: Router,
        config_for_host: Callable[[str], DomainConfig | None],
        configured_hosts: Callable[[], Iterable[str]],
        guard: RequestGuard,
        clock: Clock,
        access_log: AccessLog | None = None,
        addresses: ClientAddresses | None = None,
        use_forwarded_host: bool = True,
        limits: HttpLimits | None = None,
        caller_limits: Limits | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        self.limits = limits or HttpLimits()
        self.heads = HeadReader(self.limits)
        self.connections: set[MediaChannel] = set()
        self.is_draining = False
        self.now = clock.monotonic
        self._clock = clock
        self._access_log = access_log
        self._addresses = addresses or ClientAddresses()
        self._observers = tuple(observers)
        self._per_address: Counter[str] = Counter()
        self._paused_ports: list[PausedPort] = []
        self._sweeper: IDelayedCall | None = None
        self._all_closed: Deferred[None] | None = None
        hosts = HostFinder(
            config_for_host, configured_hosts, use_forwarded_host, self.now
        )
        self._dispatcher = Dispatcher(
            router,
            hosts,
            self._addresses,
            guard,
            caller_limits or NoLimits(),
            self.now,
            self._finished,
        )

    # What ports call.

    def startFactory(self) -> None:
        """Watch the connections from now on."""
        self._sweeper = self._clock.call_later(_SWEEP_SECONDS, self._sweep)

    def stopFactory(self) -> None:
        """The last port is closed. The watch goes on while connections are open."""
        if not self.connections:
            self._stop_watching()

    def buildProtocol(self, addr: IAddress | None) -> MediaChannel | None:
        """A channel for a new connection; None closes it (R69)."""
        peer: str | None = getattr(addr, "host", None)
        is_trusted = self._addresses.is_trusted(peer)
        # A proxy's connections are those of many clients.
        group = address_group(peer) if peer and not is_trusted else None
        if group is not None:
            if self._per_address[group] >= self.limits.connections_per_address:
                return None
            self._per_address[group] += 1
        channel = MediaChannel(self, peer, is_trusted, group)
        channel.factory = self
        self.connections.add(channel)
        return channel

    @property
    def free_connections(self) -> int:
        """How many more connections may be accepted."""
        return self.limits.connections - len(self.connections)

    def wait_for_room(self, port: PausedPort) -> None:
        """Remember a port that stopped accepting; it is resumed when there is room."""
        self._paused_ports.append(port)

    # What channels call.

    def serve(self, request: MediaRequest) -> None:
        """Answer a request, soon or later."""
        self._dispatcher.start(request)

    def refuse(self, request: MediaRequest, error: MatrixError) -> None:
        """Answer a request whose head can't be read."""
        self._dispatcher.start(request, error)

    def connection_closed(self, channel: MediaChannel) -> None:
        """Forget a connection, and let another in."""
        self.connections.discard(channel)
        group = channel.address_group
        if group is not None:
            self._per_address[group] -= 1
            if self._per_address[group] <= 0:
                del self._per_address[group]
        while self._paused_ports and self.free_connections > 0:
            port = self._paused_ports.pop()
            if port.connected:
                port.startReading()
        if not self.connections:
            if self.numPorts == 0:
                self._stop_watching()
            self._drained()

    # Stopping.

    async def drain(self, grace_s: float) -> None:
        """End all connections: idle ones now, busy ones after their request.

        Stop listening first.

        Args:
            grace_s: After so long, what still runs is aborted.
        """
        self.is_draining = True
        for channel in list(self.connections):
            if channel.is_idle:
                channel.close()
        if self.connections:
            self._all_closed = Deferred()
            timer = self._clock.call_later(grace_s, self._abort_all)
            await self._all_closed
            if timer.active():
                timer.cancel()
        self._stop_watching()

    def _abort_all(self) -> None:
        logger.warning("Aborting %d requests that don't end", len(self.connections))
        for channel in list(self.connections):
            channel.abort()

    def _drained(self) -> None:
        waiting, self._all_closed = self._all_closed, None
        if waiting is not None:
            waiting.callback(None)

    # Watching.

    def _sweep(self) -> None:
        now = self.now()
        haste = 1.0 if self.free_connections > 0 else _HASTE_WHEN_FULL
        for channel in list(self.connections):
            channel.check(now, haste)
        self._sweeper = self._clock.call_later(_SWEEP_SECONDS, self._sweep)

    def _stop_watching(self) -> None:
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None and sweeper.active():
            sweeper.cancel()
        if self._access_log is not None:
            self._access_log.stop()

    def _finished(self, request: MediaRequest) -> None:
        if self._access_log is not None:
            self._access_log.log(request)
        for observer in self._observers:
            try:
                observer(request)
            except Exception:
                logger.exception("An observer of finished requests failed")
