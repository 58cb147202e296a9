"""A remote server on loopback, found by stub DNS, asked over TLS."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import attrs

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mmr.config import DomainConfig
from mmr.crypto.keys import SigningKey, encode_base64
from mmr.crypto.request_signer import RequestSigners
from mmr.federation.back_off import BackOff
from mmr.federation.client import FederationClient
from mmr.federation.discovery import Discovery
from mmr.federation.media import RemoteMediaClient
from mmr.federation.switches import Switches
from mmr.federation.well_known import WellKnowns
from mmr.http.guard import (
    MEDIA_BOUNDS,
    AddressGuard,
    Budget,
    GuardedClient,
    TrustRoots,
)
from mmr.storage.destinations import Destination
from mmr.types import Mxc
from mmr.util.clock import Clock

from tests.stub_web import LOOPBACK, Script, StubCa, StubDns, StubServer, test_ca

P = ParamSpec("P")
R = TypeVar("R")

CA: StubCa = test_ca()
KEY = SigningKey("k1", b"s" * 32)


@attrs.define
class MemoryDestinations:
    """A `DestinationStore` in memory."""

    rows: dict[str, Destination] = attrs.Factory(dict)
    reads: int = 0

    async def get(self, destination: str) -> Destination | None:
        self.reads += 1
        return self.rows.get(destination)

    async def save(self, destination: Destination) -> None:
        self.rows[destination.destination] = destination

    async def clear(self, destination: str) -> bool:
        return self.rows.pop(destination, None) is not None


class Foreground:
    """Runs blocking functions at once."""

    async def run(
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return function(*args, **kwargs)


class FederationTestCase(TestCase):
    """Has our side, and a remote server that answers by script.

    Attributes:
        remote: The server.
        name: Its server name; the port is part of it.
    """

    switches = Switches()

    async def setUp(self) -> None:  # type: ignore[override]
        self.clock = Clock(reactor)
        self.dns = StubDns({"remote.example": [LOOPBACK], "cdn.example": [LOOPBACK]})
        self.guarded = self.make_guarded()
        self.destinations = MemoryDestinations()
        self.client = self.make_client()
        self.media = self.make_media()
        self.remote = await self.serve("remote.example")
        self.name = f"remote.example:{self.remote.port}"

    def make_guarded(self) -> GuardedClient:
        guarded = GuardedClient(
            reactor,
            self.clock,
            AddressGuard(exempt=[f"{LOOPBACK}/32"]),
            self.dns,
            budget=Budget(self.clock, MEDIA_BOUNDS),
            trust_roots=TrustRoots(CA.write(Path(self.mktemp()))),
        )
        self.addCleanup(guarded.close)
        return guarded

    def make_client(self) -> FederationClient:
        rng = random.Random(1)
        store: Any = self.destinations
        known = WellKnowns(self.guarded, self.clock, self.switches, rng)
        self.discovery = Discovery(known, self.dns, self.clock, rng)
        self.back_off = BackOff(store, self.clock, lambda: 3, rng)
        return FederationClient(
            client=self.guarded,
            discovery=self.discovery,
            back_off=self.back_off,
            signers=RequestSigners(Foreground()),
            clock=self.clock,
            switches=self.switches,
            rng=rng,
        )

    def make_media(self) -> RemoteMediaClient:
        return RemoteMediaClient(
            self.client, self.clock, lambda name: name == "us.example"
        )

    async def serve(self, *names: str, script: Script | None = None) -> StubServer:
        """Another server, with a certificate for those names."""
        server = await StubServer(script, certificate=CA.issue(*names)).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(server.stop()))
        return server

    def domain(self, **settings: Any) -> DomainConfig:
        """Our homeserver, with a key."""
        path = Path(self.mktemp())
        path.write_text(f"ed25519 {KEY.version} {encode_base64(KEY.seed)}\n")
        path.chmod(0o600)
        settings = {"signing_key_path": str(path), **settings}
        return DomainConfig(name="us.example", cs_api="https://us.example", **settings)

    def mxc(self, media_id: str = "abc") -> Mxc:
        return Mxc(self.name, media_id)
