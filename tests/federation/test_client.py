"""Requests to other servers: routes, certificates, back-off."""

from __future__ import annotations

import json
import logging

import pytest

from twisted.internet import reactor

from mmr.crypto.key_fetchers import KeysUnavailable
from mmr.federation.client import FederationRequest
from mmr.federation.errors import Cause, RemoteAnswered, RemoteFailed
from mmr.federation.keys import MAX_BYTES, KeyDocuments
from mmr.federation.switches import Switches
from mmr.federation.version import FederationTest
from mmr.http.guard import Purpose, SrvTarget

from tests.federation.support import CA, FederationTestCase
from tests.stub_web import StubServer, _Factory, silence

_PURPOSE = Purpose("test", max_bytes=1000, total_seconds=5.0)


class ClientTestCase(FederationTestCase):
    """Asks for a document."""

    async def read(self, name: str | None = None, **options: object) -> bytes:
        request = FederationRequest(
            name or self.name, "/doc", options.pop("purpose", _PURPOSE), **options
        )
        return await self.client.read(request)

    async def failure(self, name: str | None = None, **options: object) -> RemoteFailed:
        try:
            await self.read(name, **options)
        except RemoteFailed as failure:
            return failure
        self.fail("it worked")

    def delegate_by_srv(self, *ports: int) -> None:
        """`remote.example` is at these ports, best first."""
        self.dns.hosts["srv.example"] = ["127.0.0.1"]
        self.dns.services["_matrix-fed._tcp.remote.example"] = [
            SrvTarget(number, 0, port, "srv.example")
            for number, port in enumerate(ports)
        ]

    async def closed_port(self) -> int:
        server = await StubServer().start()
        port = server.port
        await server.stop()
        return port


class RouteTests(ClientTestCase):
    async def test_the_next_target_is_tried_and_the_name_stays(self) -> None:
        """Host and certificate are of the name, not of the SRV target."""
        self.delegate_by_srv(await self.closed_port(), self.remote.port)
        self.assertEqual(await self.read("remote.example"), b"hello")
        [seen] = self.remote.requests
        self.assertEqual(seen.headers["host"], "remote.example")
        self.assertEqual(seen.server_name, "remote.example")

    async def test_a_target_with_a_foreign_certificate_gets_nothing(self) -> None:
        """R18."""
        wrong = await self.serve("srv.example")
        self.delegate_by_srv(wrong.port)
        failure = await self.failure("remote.example")
        self.assertEqual((failure.step, failure.status), ("tls", 502))
        self.assertEqual(wrong.requests, [])

    async def test_a_refused_connection_is_tried_again_shortly(self) -> None:
        port = await self.closed_port()
        pauses: list[float] = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                self.dns.services["_matrix-fed._tcp.remote.example"] = []
                self.dns.hosts["remote.example"] = ["127.0.0.1"]
                await self._listen_at(port)

        self.clock.sleep = sleep  # type: ignore[method-assign, assignment]
        self.delegate_by_srv(port)
        self.assertEqual(await self.read("remote.example"), b"hello")
        self.assertEqual(len(pauses), 2)

    async def _listen_at(self, port: int) -> None:
        factory = _Factory(self.remote)
        options = CA.issue("remote.example").options()
        listening = reactor.listenSSL(port, factory, options, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(listening.stopListening)

    async def test_silence_is_a_timeout(self) -> None:
        """R15."""
        self.remote.script = silence
        quick = Purpose("test", headers_seconds=0.1)
        failure = await self.failure(purpose=quick)
        self.assertEqual((failure.step, failure.status), ("headers", 504))


class BackOffTests(ClientTestCase):
    async def test_errors_of_the_server_close_it(self) -> None:
        self.remote.status = 500
        for _ in range(3):
            self.assertEqual((await self.failure()).step, "answer")
        self.assertEqual((await self.failure()).step, "back-off")
        self.assertEqual(len(self.remote.requests), 3)
        self.assertIn(self.name, self.destinations.rows)

    async def test_what_does_not_heed_it_gets_through(self) -> None:
        self.remote.status = 500
        for _ in range(3):
            await self.failure()
        self.remote.status = 200
        self.assertEqual(await self.read(heeds_back_off=False), b"hello")

    async def test_refusals_and_missing_media_do_not_count(self) -> None:
        """D40: they tell of the request, not of the server."""
        for status in (404, 401, 403, 429, 400):
            self.remote.status = status
            for _ in range(4):
                self.assertEqual((await self.failure()).step, "answer")
        self.remote.status = 504
        self.remote.body = b'{"errcode": "M_NOT_YET_UPLOADED"}'
        for _ in range(4):
            failure = await self.failure()
            self.assertEqual(failure.cause, Cause.NOT_YET_UPLOADED)
        self.assertEqual(self.destinations.rows, {})

    async def test_unreachable_counts(self) -> None:
        for _ in range(3):
            self.assertEqual((await self.failure("no.example:8448")).step, "dns")
        self.assertEqual((await self.failure("no.example:8448")).step, "back-off")


class DocumentTests(ClientTestCase):
    async def test_a_key_document(self) -> None:
        keys = KeyDocuments(self.client)
        found = await keys.get(self.name, "/_matrix/key/v2/server")
        self.assertEqual(found, b"hello")
        [seen] = self.remote.requests
        self.assertEqual(seen.target, "/_matrix/key/v2/server")
        self.assertNotIn("authorization", seen.headers)

    async def test_no_key_document(self) -> None:
        """R16 for the one that is too long."""
        keys = KeyDocuments(self.client)
        for status, body in ((404, b""), (500, b""), (200, b"x" * (MAX_BYTES + 1))):
            self.remote.status, self.remote.body = status, body
            with self.assertRaises(KeysUnavailable):
                await keys.get(self.name, "/_matrix/key/v2/server")

    async def test_the_federation_test_tells_all(self) -> None:
        self.remote.body = json.dumps({"server": {"name": "Synapse"}}).encode()
        self.delegate_by_srv(self.remote.port)
        test = FederationTest(self.client, self.discovery, Switches())
        answer = await test.run("remote.example")
        self.assertEqual(answer["base_url"], f"https://srv.example:{self.remote.port}")
        self.assertEqual(answer["hostname"], "remote.example")
        self.assertEqual(answer["versions_response"], {"server": {"name": "Synapse"}})
        self.assertEqual(
            [step["step"] for step in answer["steps"]],
            ["well-known", "SRV _matrix-fed._tcp.remote.example"],
        )
        self.assertNotIn("error", answer)

    async def test_the_federation_test_names_the_step_that_failed(self) -> None:
        test = FederationTest(self.client, self.discovery, Switches())
        for name, step in ((self.name, "document"), ("no.example:8448", "dns")):
            answer = await test.run(name)
            self.assertEqual(answer["failed_step"], step)
            self.assertIsNone(answer["versions_response"])
            self.assertEqual(
                [one["step"] for one in answer["steps"]], ["explicit port"]
            )


class SwitchTests(ClientTestCase):
    async def test_an_unsafe_federation_takes_any_certificate(self) -> None:
        """R18: and nothing else changes."""
        self.switches = Switches(unsafe=True)
        self.client = self.make_client()
        other = await self.serve("else.example")
        self.assertEqual(await self.read(f"remote.example:{other.port}"), b"hello")
        self.dns.hosts["remote.example"] = ["10.0.0.1"]
        failure = await self.failure(f"remote.example:{other.port}")
        self.assertEqual(failure.step, "denied")

    async def test_http_only(self) -> None:
        self.switches = Switches(http_only=True)
        self.client = self.make_client()
        plain = await StubServer().start()
        try:
            self.assertEqual(await self.read(f"remote.example:{plain.port}"), b"hello")
        finally:
            await plain.stop()


def test_switches_are_told_at_each_start(caplog: pytest.LogCaptureFixture) -> None:
    """R18."""
    with caplog.at_level(logging.WARNING):
        assert Switches.from_environ({}) == Switches()
        assert caplog.records == []
        unsafe = Switches.from_environ({"MEDIA_REPO_UNSAFE_FEDERATION": "true"})
        assert unsafe == Switches(unsafe=True)
        http = Switches.from_environ({"MEDIA_REPO_HTTP_ONLY_FEDERATION": "TRUE"})
        assert http.scheme == "http"
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"errcode": 1}', b"[" * 50_000, b"\xff"]
)
def test_an_error_body_that_is_no_matrix_error(body: bytes) -> None:
    answer = RemoteAnswered.with_body(404, body)
    assert answer.is_unknown_endpoint
    assert answer.cause is Cause.NOT_FOUND
