"""A guarded client whose DNS is a stub and whose loopback is exempt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mmr.http.guard import (
    MEDIA_BOUNDS,
    AddressGuard,
    Bounds,
    Budget,
    FetchFailed,
    GuardedClient,
    GuardedRequest,
    Purpose,
    Step,
    TrustRoots,
)
from mmr.util.clock import Clock

from tests.stub_web import LOOPBACK, Script, StubCa, StubDns, StubServer, test_ca

# Certificates are slow to make; one authority serves all tests.
CA: StubCa = test_ca()
# Where the stub servers are. The rest of 127.0.0.0/8 stays denied.
EXEMPT = (f"{LOOPBACK}/32",)
QUICK = Purpose("test", max_bytes=1024 * 1024, total_seconds=None)


def wait(seconds: float) -> Deferred[None]:
    """Let the reactor run."""
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done


class GuardTestCase(TestCase):
    """Has a client, stub DNS, and servers that are stopped in the end."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.clock = Clock(reactor)
        self.dns = StubDns({"site.example": [LOOPBACK]})
        self.client = self.make_client()

    def make_client(
        self,
        *,
        exempt: Iterable[str] = EXEMPT,
        bounds: Bounds = MEDIA_BOUNDS,
        trust: bool = True,
    ) -> GuardedClient:
        ca_file = CA.write(Path(self.mktemp())) if trust else None
        self.budget = Budget(self.clock, bounds)
        client = GuardedClient(
            reactor,
            self.clock,
            AddressGuard(exempt=exempt),
            self.dns,
            budget=self.budget,
            trust_roots=TrustRoots(ca_file),
        )
        self.addCleanup(client.close)
        return client

    async def serve(self, script: Script | None = None, **options: Any) -> StubServer:
        server = await StubServer(script, **options).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(server.stop()))
        return server

    def request(self, server: StubServer, **options: Any) -> GuardedRequest:
        settings: dict[str, Any] = {
            "purpose": QUICK,
            "scheme": server.scheme,
            "connect_host": "site.example",
            "port": server.port,
            "target": "/",
            "host_header": "site.example",
        }
        return GuardedRequest(**{**settings, **options})

    async def get(self, server: StubServer, **options: Any) -> tuple[int, bytes]:
        """Status and whole body."""
        response = await self.client.request(self.request(server, **options))
        return response.status, await response.read(10**9)

    async def failure(self, work: Any, step: Step | None = None) -> FetchFailed:
        with self.assertRaises(FetchFailed) as caught:
            await work
        if step is not None:
            self.assertEqual(caught.exception.step, step, caught.exception)
        self.assertEqual(self.budget.running, 0, "the slot is free again")
        failure: FetchFailed = caught.exception
        return failure
