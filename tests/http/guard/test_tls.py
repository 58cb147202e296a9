"""TLS towards strangers."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest
from OpenSSL import SSL

from mmr.errors import ConfigError
from mmr.http.guard import Step, TrustRoots

from tests.http.guard.support import CA, GuardTestCase
from tests.stub_web import LOOPBACK, StubServer, raw_reply, test_ca


class TlsTests(GuardTestCase):
    async def serve_tls(self, *names: str, **options: bool) -> StubServer:
        return await self.serve(certificate=CA.issue(*names, **options))

    async def test_certificate_is_checked_for_the_prescribed_name(self) -> None:
        """R18: that of discovery, not of the host that is connected to."""
        server = await self.serve_tls("matrix.example")
        got = await self.get(server, tls_name="matrix.example")
        self.assertEqual(got, (200, b"hello"))
        self.assertEqual(server.requests[0].server_name, "matrix.example")
        failure = await self.failure(self.get(server), Step.TLS)
        self.assertIn("not for site.example", failure.reason)
        self.assertEqual(len(server.requests), 1)

    async def test_addresses_have_certificates_and_no_sni(self) -> None:
        """R18."""
        server = await self.serve_tls(LOOPBACK)
        got = await self.get(server, connect_host=LOOPBACK)
        self.assertEqual(got, (200, b"hello"))
        self.assertIsNone(server.requests[0].server_name)
        other = await self.serve_tls("127.0.0.2", "site.example")
        await self.failure(self.get(other, connect_host=LOOPBACK), Step.TLS)

    async def test_wildcards_cover_one_label(self) -> None:
        """R18."""
        server = await self.serve_tls("*.site.example")
        self.assertEqual((await self.get(server, tls_name="a.site.example"))[0], 200)
        await self.failure(self.get(server, tls_name="a.b.site.example"), Step.TLS)

    async def test_untrusted_and_expired_certificates_are_failures(self) -> None:
        """R18: nothing is sent to them."""
        stranger = test_ca().issue("site.example")
        for certificate in (
            CA.issue("site.example", self_signed=True),
            CA.issue("site.example", expired=True),
            stranger,
        ):
            server = await self.serve(certificate=certificate)
            failure = await self.failure(self.get(server), Step.TLS)
            self.assertIn("certificate verify failed", failure.reason)
            self.assertEqual(server.requests, [])

    async def test_unverified_skips_the_certificate_and_nothing_else(self) -> None:
        """R18, D29: a private target is still refused."""
        server = await self.serve(
            certificate=CA.issue("other.example", expired=True, self_signed=True)
        )
        self.assertEqual(await self.get(server, verify=False), (200, b"hello"))
        self.dns.hosts["evil.example"] = ["127.0.0.2"]
        got = self.get(server, verify=False, connect_host="evil.example")
        await self.failure(got, Step.DENIED)
        # What was not verified is never shared with a request that wants it verified.
        await self.failure(self.get(server), Step.TLS)
        self.assertEqual(len(server.requests), 1)

    async def test_old_tls_is_refused(self) -> None:
        """R18: 1.2 or newer."""
        roots = TrustRoots()
        for ours in (roots.verified, roots.unverified):
            self.assertTrue(_refuses_tls_1_1(ours))

    async def test_environment_may_name_the_roots(self) -> None:
        """``SSL_CERT_FILE``: in the place of the system's list."""
        server = await self.serve_tls("site.example")
        self.client = self.make_client(trust=False)
        await self.failure(self.get(server), Step.TLS)
        path = str(CA.write(Path(self.mktemp())))
        with mock.patch.dict(os.environ, {"SSL_CERT_FILE": path}):
            self.client = self.make_client(trust=False)
        self.assertEqual(await self.get(server), (200, b"hello"))

    async def test_no_tls_at_all(self) -> None:
        server = await self.serve(raw_reply(b"x"))
        server.greeting = b"220 mail.example ESMTP\r\n"
        await self.failure(self.get(server, scheme="https"), Step.TLS)

    async def test_kept_connections_serve_their_own_name_only(self) -> None:
        """R18."""
        server = await self.serve_tls("a.example", "b.example")
        for name in ("a.example", "b.example", "a.example", "b.example"):
            await self.get(server, tls_name=name)
        self.assertEqual(server.accepted, 2)


def _refuses_tls_1_1(ours: SSL.Context) -> bool:
    """A handshake on memory with a peer that knows nothing newer."""
    theirs = SSL.Context(SSL.TLS_METHOD)
    theirs.set_max_proto_version(SSL.TLS1_1_VERSION)
    theirs.set_min_proto_version(SSL.TLS1_1_VERSION)
    theirs.set_cipher_list(b"ALL:@SECLEVEL=0")
    client, server = SSL.Connection(ours, None), SSL.Connection(theirs, None)
    client.set_connect_state()
    server.set_accept_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    server.bio_write(client.bio_read(65536))
    try:
        server.do_handshake()
    except SSL.WantReadError:
        return False
    except SSL.Error as error:
        return "unsupported protocol" in str(error)
    return False


def test_unreadable_ca_file_stops_the_start(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing\n")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match=path.name):
            TrustRoots(path)
