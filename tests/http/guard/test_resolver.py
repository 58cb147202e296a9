"""Name look-ups by the system."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import dns
from twisted.names.authority import FileAuthority
from twisted.names.client import Resolver as NamesClient
from twisted.names.common import ResolverBase
from twisted.names.error import DNSNameError, DNSQueryTimeoutError, DNSServerError
from twisted.names.server import DNSServerFactory
from twisted.trial.unittest import TestCase

from mmr.http.guard import FetchFailed, SrvTarget, Step, SystemResolver
from mmr.http.guard import resolver as resolver_module
from mmr.http.guard.resolver import _name_servers
from mmr.util.clock import Clock


class AddressTests(TestCase):
    def setUp(self) -> None:
        self.resolver = SystemResolver(reactor, Clock(reactor))
        self.resolver.start()
        self.addCleanup(self.resolver.stop)

    async def test_hosts_file_counts(self) -> None:
        found = await self.resolver.addresses("localhost")
        self.assertTrue(set(found) <= {"127.0.0.1", "::1"}, found)
        self.assertEqual(len(found), len(set(found)))

    async def test_unknown_name_is_a_failure_of_dns(self) -> None:
        def unknown(*_: object, **__: object) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        self.patch(socket, "getaddrinfo", unknown)
        with self.assertRaises(FetchFailed) as caught:
            await self.resolver.addresses("nowhere.example")
        self.assertEqual(caught.exception.step, Step.DNS)
        self.assertIn("not known", caught.exception.reason)
        self.assertFalse(caught.exception.timed_out)

    async def test_look_up_has_a_limit_of_its_own(self) -> None:
        """R15, R20: we go on although the thread is stuck."""
        release = threading.Event()
        self.patch(resolver_module, "LOOKUP_SECONDS", 0.05)
        self.patch(socket, "getaddrinfo", lambda *_, **__: release.wait(5) and [])
        with self.assertRaises(FetchFailed) as caught:
            await self.resolver.addresses("slow.example")
        self.assertTrue(caught.exception.timed_out)
        release.set()

    async def test_askers_of_one_name_share_a_thread(self) -> None:
        """R20: one slow name takes one thread."""
        release = threading.Event()
        asked: list[bytes] = []

        def look_up(host: bytes, *_: object, **__: object) -> Any:
            asked.append(host)
            release.wait(5)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 0))]

        self.patch(socket, "getaddrinfo", look_up)
        running = [
            Deferred.fromCoroutine(self.resolver.addresses("a.example"))
            for _ in range(5)
        ]
        self.assertEqual(self.resolver.pool.pending, 1)
        release.set()
        for asker in running:
            self.assertEqual(await asker, ["1.1.1.1"])
        self.assertEqual(asked, [b"a.example"])


class SrvTests(TestCase):
    """The SRV half, on answers as the DNS library gives them."""

    def setUp(self) -> None:
        self.resolver = SystemResolver(reactor, Clock(reactor))
        self.resolver.start()
        self.addCleanup(self.resolver.stop)
        self.asked: list[str] = []

    def answer(self, outcome: Callable[[], Deferred[Any]]) -> None:
        def look_up(_: object, name: str, **__: object) -> Deferred[Any]:
            self.asked.append(name)
            return outcome()

        self.patch(NamesClient, "lookupService", look_up)

    def records(self, *records: dns.Record_SRV) -> None:
        headers = [dns.RRHeader(b"x", r.TYPE, payload=r) for r in records]
        self.answer(lambda: succeed((headers, [], [])))

    async def srv_failure(self) -> FetchFailed:
        with self.assertRaises(FetchFailed) as caught:
            await self.resolver.srv("_matrix-fed._tcp.a.example")
        self.assertEqual(caught.exception.step, Step.DNS)
        failure: FetchFailed = caught.exception
        return failure

    async def test_targets_come_by_priority(self) -> None:
        self.records(
            dns.Record_SRV(20, 0, 8449, b"B.example."),
            dns.Record_SRV(10, 5, 8448, b"a.example"),
        )
        self.assertEqual(
            await self.resolver.srv("_matrix-fed._tcp.a.example"),
            [
                SrvTarget(priority=10, weight=5, port=8448, host="a.example"),
                SrvTarget(priority=20, weight=0, port=8449, host="b.example"),
            ],
        )

    async def test_targets_are_bounded(self) -> None:
        """R16: an answer of any length is cut."""
        self.records(*[dns.Record_SRV(1, 1, port, b"a.") for port in range(1, 200)])
        self.assertEqual(len(await self.resolver.srv("_a._tcp.a.example")), 20)

    async def test_no_such_name_is_no_target(self) -> None:
        self.answer(lambda: fail(DNSNameError()))
        self.assertEqual(await self.resolver.srv("_a._tcp.a.example"), [])
        self.answer(lambda: succeed(([], [], [])))
        self.assertEqual(await self.resolver.srv("_a._tcp.a.example"), [])

    async def test_root_as_target_says_that_there_is_no_service(self) -> None:
        self.records(dns.Record_SRV(0, 0, 0, b"."))
        self.assertIn("no such service", (await self.srv_failure()).reason)

    async def test_failures_of_servers_are_failures(self) -> None:
        self.answer(lambda: fail(DNSServerError()))
        self.assertFalse((await self.srv_failure()).timed_out)
        self.answer(lambda: fail(DNSQueryTimeoutError(1)))
        self.assertTrue((await self.srv_failure()).timed_out)

    async def test_silence_ends(self) -> None:
        """R15."""
        self.patch(resolver_module, "LOOKUP_SECONDS", 0.05)
        self.answer(Deferred)
        self.assertTrue((await self.srv_failure()).timed_out)

    async def test_names_that_dns_can_t_hold_are_not_asked(self) -> None:
        self.answer(Deferred)
        for name in ("_a._tcp." + "x" * 64, "_a._tcp." + "x." * 130, "_a._tcp..a"):
            self.assertEqual(await self.resolver.srv(name), [])
        self.assertEqual(self.asked, [])

    async def test_asks_a_real_server(self) -> None:
        """The whole way, to a name server on loopback."""
        zone = {b"_a._tcp.a.example": [dns.Record_SRV(1, 2, 8448, b"t.example")]}
        server = DNSServerFactory(authorities=[MemoryAuthority(zone)])
        port = reactor.listenUDP(  # type: ignore[attr-defined]
            0, dns.DNSDatagramProtocol(server), interface="127.0.0.1"
        )
        self.addCleanup(port.stopListening)
        place = ("127.0.0.1", port.getHost().port)
        self.patch(resolver_module, "_name_servers", lambda: [place])
        found = await self.resolver.srv("_a._tcp.a.example")
        self.assertEqual(found, [SrvTarget(1, 2, 8448, "t.example")])
        self.assertEqual(await self.resolver.srv("_b._tcp.a.example"), [])


class MemoryAuthority(FileAuthority):
    """A zone that needs no file."""

    def __init__(self, zone: dict[bytes, list[Any]]) -> None:
        soa = dns.Record_SOA(b"ns.a.example", b"root.a.example")
        self.soa = (b"a.example", soa)  # type: ignore[assignment]
        self.records = {b"a.example": [soa], **zone}  # type: ignore[assignment]
        ResolverBase.__init__(self)


def test_name_servers_are_the_system_s(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    assert _name_servers(path) == [("127.0.0.1", 53)]
    path.write_text("# x\nsearch a\nnameserver 9.9.9.9\nnameserver\n nameserver ::1\n")
    assert _name_servers(path) == [("9.9.9.9", 53), ("::1", 53)]
