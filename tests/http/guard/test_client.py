"""The guarded client against servers on loopback: one request."""

from __future__ import annotations

import os
import socket
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred

from mmr.http.guard import FetchFailed, Purpose, Step, proxy_warning
from mmr.http.guard import pool as pool_module

from tests.http.guard.support import GuardTestCase, wait
from tests.stub_web import LOOPBACK, Seen, StubConnection, raw_reply, silence

IMPATIENT = Purpose("test", connect_seconds=0.1, headers_seconds=0.1, idle_seconds=0.1)


class ExchangeTests(GuardTestCase):
    async def test_sends_nothing_but_what_the_request_says(self) -> None:
        """R17, R19: no coding, cookie, token, Referer or address goes along."""
        server = await self.serve()
        self.assertEqual(await self.get(server, target="/a?b=c"), (200, b"hello"))
        (seen,) = server.requests
        self.assertEqual((seen.method, seen.target), ("GET", "/a?b=c"))
        self.assertEqual(
            seen.headers,
            {
                "host": "site.example",
                "accept-encoding": "identity",
                "user-agent": "matrix-media-repo",
            },
        )

    async def test_headers_of_clients_are_not_passed_on(self) -> None:
        """R19: a caller that tries is a mistake of ours, and seen as one."""
        server = await self.serve()
        for name in ("Cookie", "referer", "X-Forwarded-For", "Host", "Range"):
            with self.assertRaises(ValueError):
                await self.get(server, headers={name: "x"})
        for value in ("a\r\nb: c", "a\nb", "a\0", "\xe9"):
            with self.assertRaises(ValueError):
                await self.get(server, headers={"Accept": value})
        await self.failure(self.get(server, target="/ HTTP/1.1\r\nx: y"), Step.URL)
        await self.failure(self.get(server, host_header="a\r\nb"), Step.URL)
        self.assertEqual(server.accepted, 0)

    async def test_proxies_of_the_environment_are_not_used(self) -> None:
        """R8: they are named in a warning instead."""
        server = await self.serve()
        proxies = {"http_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://[::1]:9"}
        with mock.patch.dict(os.environ, proxies):
            self.assertEqual(await self.get(server), (200, b"hello"))
        self.assertIn("HTTPS_PROXY, http_proxy", proxy_warning(proxies) or "")
        self.assertIsNone(proxy_warning({"http_proxy": "", "NO_PROXY": "a"}))

    async def test_connections_are_kept_and_shared_by_address(self) -> None:
        server = await self.serve()
        self.dns.hosts["other.example"] = [LOOPBACK]
        await self.get(server)
        await self.get(server, connect_host="other.example", host_header="other")
        self.assertEqual(server.accepted, 1)
        self.assertEqual(server.requests[1].headers["host"], "other")

    async def test_connections_that_ended_in_doubt_are_not_kept(self) -> None:
        """R16."""
        for data in (
            b"HTTP/1.1 200 x\r\nContent-Length: 1\r\n\r\nab",
            b"HTTP/1.1 200 x\r\nContent-Length: 1\r\nConnection: close\r\n\r\na",
            b"HTTP/1.0 200 x\r\nContent-Length: 1\r\n\r\na",
        ):
            server = await self.serve(raw_reply(data))
            self.assertEqual((await self.get(server))[1], b"a")
            await self.get(server)
            self.assertEqual(server.accepted, 2)

    async def test_request_is_sent_again_when_a_kept_connection_is_gone(self) -> None:
        def script(connection: StubConnection, _: Seen) -> None:
            if server.accepted == 1 and len(server.requests) == 2:
                connection.reset()
            else:
                connection.reply(200, b"hello")

        server = await self.serve(script)
        await self.get(server)
        self.assertEqual(await self.get(server), (200, b"hello"))
        self.assertEqual((server.accepted, len(server.requests)), (2, 3))

    async def test_idle_connections_are_bounded(self) -> None:
        """R20: in number, per place and in all, and in time."""
        self.patch(pool_module, "MAX_IDLE_PER_PLACE", 2)
        self.patch(pool_module, "MAX_IDLE", 3)
        self.patch(pool_module, "IDLE_SECONDS", 0.1)
        for _ in range(2):
            server = await self.serve()
            responses = [
                await self.client.request(self.request(server)) for _ in range(3)
            ]
            for response in responses:
                await response.read(100)
        self.assertLessEqual(len(self.client._idle), 3)
        await wait(0.15)
        self.assertEqual(len(self.client._idle), 0)

    async def test_unasked_bytes_end_an_idle_connection(self) -> None:
        """R16: they would be taken for the next response."""
        server = await self.serve()
        await self.get(server)
        server.connections[0].send(b"HTTP/1.1 200 x\r\nContent-Length: 4\r\n\r\nevil")
        await server.connections[0].lost
        self.assertEqual(await self.get(server), (200, b"hello"))
        self.assertEqual(server.accepted, 2)

    async def test_answer_to_head(self) -> None:
        def script(connection: StubConnection, seen: Seen) -> None:
            connection.send(b"HTTP/1.1 200 x\r\nContent-Length: 500\r\n\r\n")

        server = await self.serve(script)
        self.assertEqual(await self.get(server, method="HEAD"), (200, b""))
        with self.assertRaises(ValueError):
            await self.get(server, method="POST")


class AddressTests(GuardTestCase):
    async def test_denied_names_are_refused_whole(self) -> None:
        """R11: one denied address among good ones is enough."""
        server = await self.serve()
        for bad in ("127.0.0.2", "::1", "10.0.0.1", "::ffff:169.254.169.254"):
            self.dns.hosts["evil.example"] = [LOOPBACK, bad]
            got = self.get(server, connect_host="evil.example")
            failure = await self.failure(got, Step.DENIED)
            self.assertIn(bad, failure.reason)
        self.assertEqual(server.accepted, 0)

    async def test_denied_literals_are_refused_without_a_look_up(self) -> None:
        """R9, R12."""
        server = await self.serve()
        for host in ("127.0.0.2", "::1", "[::1]", "[::ffff:127.0.0.2]"):
            await self.failure(self.get(server, connect_host=host), Step.DENIED)
        for host in ("127.1", "2130706433", "0x7f000001", "127.0.0.1."):
            await self.failure(self.get(server, connect_host=host), Step.URL)
        self.assertEqual((server.accepted, self.dns.asked), (0, []))

    async def test_second_look_up_never_happens(self) -> None:
        """R11: DNS rebinding."""
        server = await self.serve()
        self.dns.hosts["site.example"] = [[LOOPBACK], ["10.0.0.1"]]
        self.assertEqual(await self.get(server), (200, b"hello"))
        self.assertEqual(self.dns.asked, ["site.example"])
        # A kept connection is no way round either: every request is judged.
        await self.failure(self.get(server), Step.DENIED)
        self.assertEqual(len(server.requests), 1)

    async def test_peer_of_the_socket_is_judged_before_a_byte_is_sent(self) -> None:
        """R11: the judged address and the connected one are compared by the socket."""
        server = await self.serve()
        canary = await self.serve()
        client = self.make_client(exempt=["127.0.0.0/8"])
        self.client = client
        connect = client._reactor.connectTCP

        class Diverted:
            def connectTCP(self, _: str, port: int, *rest: object, **more: object):  # type: ignore[no-untyped-def]
                client.guard = strict
                return connect(LOOPBACK, canary.port, *rest, **more)

        strict = self.make_client(exempt=["127.0.0.2/32"]).guard
        client._reactor = Diverted()
        self.dns.hosts["site.example"] = ["127.0.0.2"]
        await self.failure(self.get(server), Step.DENIED)
        await wait(0.02)
        self.assertEqual(canary.requests, [])

    async def test_next_address_is_tried(self) -> None:
        """R11: what is outside of the allowed networks is left out."""
        server = await self.serve()
        self.client = self.make_client(exempt=["127.0.0.0/8"])
        self.dns.hosts["site.example"] = ["127.0.0.9", LOOPBACK]
        self.assertEqual(await self.get(server), (200, b"hello"))

    async def test_ports_of_other_services_are_refused(self) -> None:
        """R13: SRV records and server names can't point there either."""
        server = await self.serve()
        for port in (25, 6379, 0, 70000):
            await self.failure(self.get(server, port=port), Step.URL)
        self.assertEqual(self.dns.asked, [])

    async def test_closed_port(self) -> None:
        with socket.socket() as unused:
            unused.bind((LOOPBACK, 0))
            server = await self.serve()
            port = unused.getsockname()[1]
            await self.failure(self.get(server, port=port), Step.CONNECT)

    async def test_unknown_name(self) -> None:
        server = await self.serve()
        got = self.get(server, connect_host="unknown.example")
        self.assertFalse((await self.failure(got, Step.DNS)).timed_out)


class TarpitTests(GuardTestCase):
    """R15: a server that stalls, in each phase; the slot is free again after it."""

    async def test_look_up(self) -> None:
        server = await self.serve()
        self.dns.silent.add("site.example")
        quick = Purpose("test", total_seconds=0.05)
        failure = await self.failure(self.get(server, purpose=quick), Step.DNS)
        self.assertTrue(failure.timed_out)

    async def test_tls_handshake(self) -> None:
        server = await self.serve(silence)
        got = self.get(server, scheme="https", purpose=IMPATIENT)
        failure = await self.failure(got, Step.CONNECT)
        self.assertTrue(failure.timed_out)

    async def test_headers(self) -> None:
        server = await self.serve(silence)
        failure = await self.failure(self.get(server, purpose=IMPATIENT), Step.HEADERS)
        self.assertTrue(failure.timed_out)
        await wait(0.2)
        self.assertEqual(server.connections, [], "the connection is aborted")

    async def test_limit_of_the_headers_may_be_set_per_request(self) -> None:
        server = await self.serve(silence)
        got = self.get(server, headers_seconds=0.05)
        self.assertTrue((await self.failure(got, Step.HEADERS)).timed_out)

    async def test_trickled_headers(self) -> None:
        async def trickle(connection: StubConnection, _: Seen) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\n")
            while connection.is_open:
                connection.send(b"a: b\r\n")
                await wait(0.02)

        server = await self.serve(trickle)
        failure = await self.failure(self.get(server, purpose=IMPATIENT), Step.HEADERS)
        self.assertTrue(failure.timed_out)
        await wait(0.03)

    async def test_body(self) -> None:
        head = b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nabc"
        server = await self.serve(raw_reply(head))
        failure = await self.failure(self.get(server, purpose=IMPATIENT), Step.BODY)
        self.assertTrue(failure.timed_out)

    async def test_trickled_page(self) -> None:
        async def trickle(connection: StubConnection, _: Seen) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
            while connection.is_open:
                connection.send(b"x")
                await wait(0.02)

        server = await self.serve(trickle)
        page = Purpose("page", total_seconds=0.1)
        failure = await self.failure(self.get(server, purpose=page), Step.BODY)
        self.assertIn("not done within", failure.reason)
        await wait(0.03)

    async def test_cancelling_while_connecting_is_no_failure_of_the_peer(self) -> None:
        server = await self.serve()
        self.client = self.make_client(exempt=["127.0.0.0/8"])
        self.dns.hosts["site.example"] = ["127.0.0.1", "127.0.0.9"]
        for scheme in ("http", "https"):
            asked = Deferred.fromCoroutine(self.get(server, scheme=scheme))
            asked.cancel()
            with self.assertRaises(CancelledError):
                await asked
        await wait(0.2)
        self.assertEqual((server.requests, self.budget.running), ([], 0))

    async def test_cancelled_request_leaves_nothing(self) -> None:
        server = await self.serve(silence)
        asked = Deferred.fromCoroutine(self.get(server))
        while not server.requests:
            await wait(0.01)
        asked.cancel()
        with self.assertRaises(CancelledError):
            await asked
        await wait(0.2)
        self.assertEqual((server.connections, self.budget.running), ([], 0))

    async def test_one_destination_that_hangs_holds_up_no_other(self) -> None:
        """R20: with 100 requests queued."""
        slow, quick = await self.serve(silence), await self.serve()
        self.dns.hosts["slow.example"] = [LOOPBACK]
        asked = [
            Deferred.fromCoroutine(self.get(slow, connect_host="slow.example"))
            for _ in range(100)
        ]
        answer = Deferred.fromCoroutine(self.get(quick))
        answer.addTimeout(10, self.clock._reactor)
        self.assertEqual(await answer, (200, b"hello"))
        for one in asked:
            one.addErrback(lambda failure: failure.trap(CancelledError))
            one.cancel()
        self.assertEqual((self.budget.running, self.budget.waiting), (0, 0))
        await wait(0.02)


class FailureTests(GuardTestCase):
    async def test_text_is_for_logs(self) -> None:
        failure = FetchFailed(Step.DNS, "a.example: unknown")
        self.assertEqual(str(failure), "dns: a.example: unknown")
