"""The client for configured URLs, against servers on loopback."""

from __future__ import annotations

import datetime
import ipaddress
import os
from typing import Any
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from twisted.internet import reactor, ssl
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mmr.errors import MatrixError
from mmr.http import client as client_module
from mmr.http.client import TrustedClient, UpstreamUnavailable, quote_segment

from tests.homeserver import Reply, StubHomeserver


class TrustedClientTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.server = StubHomeserver(reactor)
        await self.server.start()
        self.client = TrustedClient(reactor)
        self.server.users["tok"] = "@ann:a.example"

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.client.close()
        await self.server.stop()

    async def get(self, **options: Any) -> tuple[int, dict[str, Any]]:
        path = "/_matrix/client/v3/account/whoami"
        return await self.client.request_json("GET", self.server.url + path, **options)

    async def fault(self, **options: Any) -> str:
        with self.assertRaises(UpstreamUnavailable) as caught:
            await self.get(**options)
        return caught.exception.reason

    async def test_sends_token_in_the_header_and_reads_json(self) -> None:
        """R19, D12: the token is in the header, never in the URL."""
        status, body = await self.get(token="tok", params={"user_id": "@b&c=d:a"})
        self.assertEqual((status, body["user_id"]), (200, "@ann:a.example"))
        (seen,) = self.server.requests
        self.assertEqual(seen.headers["authorization"], "Bearer tok")
        self.assertEqual(seen.headers["accept-encoding"], "identity")
        self.assertEqual(seen.args, {b"user_id": [b"@b&c=d:a"]})

    async def test_sends_a_json_body(self) -> None:
        url = self.server.url + "/_matrix/client/versions"
        status, _ = await self.client.request_json("POST", url, body={"a": 1})
        self.assertEqual(status, 200)
        self.assertEqual(self.server.requests[0].headers["content-length"], "8")

    async def test_does_not_follow_redirects_nor_heed_proxies(self) -> None:
        """R8: a configured address is the address that is asked, and no other."""
        self.server.override = Reply(302)
        with mock.patch.dict(os.environ, {"http_proxy": "http://127.0.0.1:9"}):
            status, body = await self.get()
        self.assertEqual((status, body), (302, {}))
        self.assertEqual(len(self.server.requests), 1)

    async def test_error_without_json_is_an_empty_object(self) -> None:
        self.server.override = Reply(502, b"<html>Bad gateway</html>")
        self.assertEqual(await self.get(), (502, {}))

    async def test_success_without_a_json_object_is_a_fault(self) -> None:
        for body in (b"", b"[]", b"<html>", b"\xff", b"[" * 100_000):
            self.server.override = Reply(200, body)
            self.assertIn("no JSON object", await self.fault())

    async def test_too_long_bodies_are_faults(self) -> None:
        self.server.override = Reply(200, b'{"a":"' + b"x" * 100 + b'"}')
        self.assertIn("longer than 50 bytes", await self.fault(max_bytes=50))
        self.server.override = Reply(400, b"x" * (64 * 1024 + 1))
        self.assertIn("longer than 65536 bytes", await self.fault())

    async def test_refused_connection_is_a_fault(self) -> None:
        await self.server.stop()
        self.assertIn("Connection", await self.fault())

    async def test_silence_is_a_fault_after_the_timeout(self) -> None:
        self.server.hanging = True
        self.assertEqual(await self.fault(timeout_s=0.05), "no answer within 0.05 s")

    async def test_closing_ends_what_still_runs(self) -> None:
        """Else its connection would be kept, once it was answered, with nobody left."""
        self.server.delay_s = 0.1
        asked = Deferred.fromCoroutine(self.get())
        while not self.server.requests:
            await wait(0.01)
        await self.client.close()
        with self.assertRaises(CancelledError):
            await asked
        await wait(0.15)

    async def test_hang_up_without_an_answer_is_a_fault(self) -> None:
        self.server.hanging = True
        asked = Deferred.fromCoroutine(self.fault())
        while not self.server.requests:
            await wait(0.01)
        await self.server.stop()
        self.assertIn("Connection", await asked)

    async def test_our_own_cancelling_is_no_fault(self) -> None:
        """A client that went away says nothing about the homeserver."""
        self.server.hanging = True
        asked = Deferred.fromCoroutine(self.get())
        while not self.server.requests:
            await wait(0.01)
        asked.cancel()
        with self.assertRaises(CancelledError):
            await asked

    async def test_requests_to_one_host_are_bounded_and_wait_for_their_turn(
        self,
    ) -> None:
        self.patch(client_module, "_MAX_PER_HOST", 2)
        self.patch(client_module, "_MAX_WAITING_PER_HOST", 1)
        self.server.delay_s = 0.1
        asked = [Deferred.fromCoroutine(self.get()) for _ in range(3)]
        with self.assertRaises(MatrixError) as caught:
            await self.get()
        self.assertEqual(caught.exception.status, 503)
        await wait(0.05)
        self.assertLessEqual(len(self.server.requests), 2)
        await gatherResults(asked)
        self.assertEqual(len(self.server.requests), 3)

    async def test_certificate_that_nobody_vouches_for_is_a_fault(self) -> None:
        port = reactor.listenSSL(  # type: ignore[attr-defined]
            0, self.server.factory, self_signed(), interface="127.0.0.1"
        )
        url = f"https://127.0.0.1:{port.getHost().port}/_matrix/client/versions"
        with self.assertRaises(UpstreamUnavailable) as caught:
            await self.client.request_json("GET", url)
        self.assertIn("certificate verify failed", caught.exception.reason)
        await port.stopListening()


def wait(seconds: float) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)  # type: ignore[attr-defined]
    return done


def self_signed() -> ssl.CertificateOptions:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return ssl.PrivateCertificate.loadPEM(pem).options()


class QuoteSegmentTests(SynchronousTestCase):
    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
    def test_is_one_segment_whatever_is_in_it(self, text: str) -> None:
        """R76: nothing ends the segment, the path or the URL."""
        if text in {".", ".."}:
            return
        quoted = quote_segment(text)
        self.assertTrue(quoted.isascii())
        self.assertFalse(set(quoted) & set("/?#;&= \r\n\\"))

    def test_refuses_what_no_encoding_protects(self) -> None:
        """R76: dot segments are resolved even when they are encoded."""
        for text in ("", ".", ".."):
            with self.assertRaises(ValueError):
                quote_segment(text)
