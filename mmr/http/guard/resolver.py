"""Name look-ups with a pool and limits of their own (R20)."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Protocol

import attrs

from twisted.internet.defer import Deferred
from twisted.names import dns
from twisted.names.client import Resolver as NamesClient
from twisted.names.error import DNSNameError, DNSQueryTimeoutError, DomainError

from mmr.http.guard.errors import FetchFailed, Step
from mmr.http.guard.urls import MAX_HOST_BYTES
from mmr.http.guard.waiting import within
from mmr.util.clock import Clock
from mmr.util.single_flight import SingleFlight
from mmr.util.threads import WorkerPool

LOOKUP_SECONDS = 5.0
# A thread is held as long as the system's resolver tries, which is longer than we wait.
_THREADS = 32
_MAX_WAITING = 500
_MAX_SRV_TARGETS = 20
_MAX_LABEL_BYTES = 63
_SRV_TRIES = (1, 3)


@attrs.frozen(order=True)
class SrvTarget:
    """One target of an SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    host: str


class Resolver(Protocol):
    """Looks names up."""

    async def addresses(self, host: str) -> list[str]:
        """The addresses of a name, IPv4 and IPv6, best first.

        Raises:
            FetchFailed: with `Step.DNS`; also when the name has none.
        """
        ...

    async def srv(self, name: str) -> list[SrvTarget]:
        """The SRV targets of a name, by priority; empty when there are none.

        Raises:
            FetchFailed: with `Step.DNS`: no answer, or "no such service" (target
                ``.``).
        """
        ...


class SystemResolver:
    """Addresses as the system finds them (so ``/etc/hosts`` counts), SRV from DNS.

    Args:
        reactor: The reactor.
        clock: The time.
    """

    def __init__(self, reactor: Any, clock: Clock) -> None:
        self._clock = clock
        self.pool = WorkerPool("dns", _THREADS, _MAX_WAITING, reactor)
        self._reactor = reactor
        self._flights: SingleFlight[str, list[str]] = SingleFlight()

    def start(self) -> None:
        """Start the threads' pool."""
        self.pool.start()

    def stop(self) -> None:
        """End the threads. Blocks until running look-ups have ended."""
        self.pool.stop()

    async def addresses(self, host: str) -> list[str]:
        """See `Resolver`."""
        late = FetchFailed(Step.DNS, f"no answer for {host}", timed_out=True)
        # Askers of one name share a thread; each has its own limit.
        asking = self._flights.run(host, lambda: self.pool.run(_getaddrinfo, host))
        try:
            return await within(self._clock, LOOKUP_SECONDS, asking, late)
        except OSError as error:
            raise FetchFailed(Step.DNS, f"{host}: {error.strerror}") from error

    async def srv(self, name: str) -> list[SrvTarget]:
        """See `Resolver`."""
        if not _fits_in_dns(name):
            return []
        late = FetchFailed(Step.DNS, f"no answer for {name}", timed_out=True)
        try:
            answers = await within(
                self._clock, LOOKUP_SECONDS, self._lookup_service(name), late
            )
        except DNSNameError:
            return []
        except (DNSQueryTimeoutError, TimeoutError):
            raise late from None
        except (DomainError, OSError, ValueError) as error:
            reason = f"{name}: {type(error).__name__}"
            raise FetchFailed(Step.DNS, reason) from error
        return _srv_targets(name, answers)

    async def _lookup_service(self, name: str) -> list[dns.RRHeader]:
        # Made for each look-up (they are rare, discovery caches them): a lasting one
        # would read the file from the reactor's thread every minute.
        servers = await self.pool.run(_name_servers)
        names = NamesClient(servers=servers, reactor=self._reactor)
        query: Deferred[Any] = names.lookupService(name, timeout=_SRV_TRIES)
        answers, _, _ = await query
        return list(answers)


def _getaddrinfo(host: str) -> list[str]:
    # Bytes, or Python's own IDNA codec would have a say in what the host is.
    found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _name_servers(path: Path = Path("/etc/resolv.conf")) -> list[tuple[str, int]]:
    """The system's name servers; its own machine if none are named (resolv.conf(5))."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    found = [(w[1], 53) for w in words if len(w) > 1 and w[0] == "nameserver"]
    return found or [("127.0.0.1", 53)]


def _srv_targets(name: str, answers: list[dns.RRHeader]) -> list[SrvTarget]:
    found = []
    for answer in answers:
        record: Any = answer.payload
        if answer.type == dns.SRV and isinstance(record, dns.Record_SRV):
            host = record.target.name.decode("ascii", "replace").rstrip(".").lower()
            found.append(SrvTarget(record.priority, record.weight, record.port, host))
    targets = [target for target in found if target.host]
    if found and not targets:
        raise FetchFailed(Step.DNS, f"{name}: says that there is no such service")
    return sorted(targets)[:_MAX_SRV_TARGETS]


def _fits_in_dns(name: str) -> bool:
    return len(name) <= MAX_HOST_BYTES and all(
        0 < len(label) <= _MAX_LABEL_BYTES for label in name.split(".")
    )
