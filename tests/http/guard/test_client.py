"""The guarded client against servers on loopback."""

from __future__ import annotations

from mmr.http.guard import Step

from tests.http.guard.support import CA, GuardTestCase
from tests.stub_web import LOOPBACK


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

    async def test_tls(self) -> None:
        server = await self.serve(certificate=CA.issue("site.example"))
        self.assertEqual(await self.get(server), (200, b"hello"))
        self.assertEqual(server.requests[0].server_name, "site.example")

    async def test_denied(self) -> None:
        server = await self.serve()
        self.dns.hosts["evil.example"] = ["127.0.0.2"]
        await self.failure(self.get(server, connect_host="evil.example"), Step.DENIED)
        self.assertEqual(server.accepted, 0)

    async def test_keeps(self) -> None:
        server = await self.serve()
        await self.get(server)
        await self.get(server, connect_host=LOOPBACK)
        self.assertEqual(server.accepted, 1)
