"""Which server is asking: signatures of federation requests (R50, R51, R55)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeClock
from twisted.trial.unittest import TestCase

from mmr.auth import lookup_limit
from mmr.auth.authenticator import Authenticator
from mmr.auth.federation import XMatrixVerifier
from mmr.auth.homeserver import HomeserverClients
from mmr.auth.lookup_limit import LookupLimit
from mmr.auth.tokens import TokenCache
from mmr.config import Config
from mmr.crypto.key_ring import KeyRing
from mmr.crypto.keys import SigningKey
from mmr.crypto.signing import canonical_json
from mmr.crypto.x_matrix import XMatrix, request_object
from mmr.errors import MatrixError
from mmr.http.client import TrustedClient
from mmr.http.head import RequestHead
from mmr.metrics import REGISTRY
from mmr.types import Access
from mmr.util.clock import Clock

from tests.auth.fakes import HOST, OTHER_HOST, FakeQuery, FakeRequest, make_config
from tests.crypto.documents import FakeSource, document
from tests.crypto.vectors import MMR, MMR_2, SYNAPSE

ORIGIN = "remote.example:8448"
TARGET = "/_matrix/federation/v1/media/download/abc%2Fd?timeout_ms=20000&x=%7e"

NO_AUTH = {
    "errcode": "M_UNAUTHORIZED",
    "error": "no auth provided (required)",
    "mr_errcode": "M_MISSING_TOKEN",
}
BAD_AUTH = {
    "errcode": "M_UNAUTHORIZED",
    "error": "invalid auth provided (required)",
    "mr_errcode": "M_BAD_REQUEST",
}


@attrs.frozen
class Signed:
    """A signature over one request, in a header that may say something else."""

    key: SigningKey = MMR
    origin: str = ORIGIN
    signed_for: str = HOST
    destination: str | None = HOST
    method: str = "GET"
    target: str = TARGET

    def header(self) -> bytes:
        message = request_object(self.method, self.target, self.origin, self.signed_for)
        signature = self.key.sign(canonical_json(message))
        return XMatrix(
            self.origin, self.destination, self.key.key_id, signature
        ).header()


def counted() -> float:
    name = "media_federation_without_destination_total"
    return REGISTRY.get_sample_value(name) or 0


class VerifierTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.config = self.configured()
        self.time = FakeClock()
        self.source = FakeSource()
        self.source.published[ORIGIN] = document(ORIGIN, MMR, MMR_2)
        clock = Clock(self.time)
        self.lookups = LookupLimit(clock)
        self.verifier = XMatrixVerifier(
            lambda: self.config, KeyRing(lambda: [self.source], clock), self.lookups
        )

    def configured(self, **federation: Any) -> Config:
        return make_config(self.folder, "http://127.0.0.1:1", federation=federation)

    def request(
        self,
        *headers: bytes,
        target: str = TARGET,
        method: str = "GET",
        address: str = "192.0.2.7",
    ) -> FakeRequest:
        values = {b"authorization": list(headers)} if headers else {}
        head = RequestHead(method.encode(), target.encode(), values)
        query = FakeQuery(target.partition("?")[2])
        return FakeRequest(self.config.domains[HOST], head, query, address)

    async def refused(
        self, *headers: bytes, body: dict[str, str] = BAD_AUTH, **more: str
    ) -> None:
        with self.assertRaises(MatrixError) as caught:
            await self.verifier.verify(self.request(*headers, **more))
        self.assertEqual(caught.exception.status, 401)
        self.assertEqual(caught.exception.body(), body)

    async def accepted(self, *signed: Signed, **more: str) -> None:
        headers = [one.header() for one in signed]
        name = await self.verifier.verify(self.request(*headers, **more))
        self.assertEqual(name, ORIGIN)

    async def test_signed_request_gives_the_servers_name(self) -> None:
        await self.accepted(Signed())
        await self.accepted(Signed(), Signed(key=MMR_2))

    async def test_request_without_signature(self) -> None:
        await self.refused(body=NO_AUTH)
        await self.refused(b"Bearer some-token", body=NO_AUTH)

    async def test_signature_covers_method_and_target_byte_for_byte(self) -> None:
        """R50."""
        header = Signed().header()
        await self.refused(header, method="HEAD")
        for target in (
            TARGET.replace("%7e", "%7E"),
            TARGET.replace("%7e", "~"),
            TARGET.replace("%2F", "/"),
            TARGET + "&",
            TARGET.partition("?")[0],
            TARGET.partition("?")[0] + "?x=%7e&timeout_ms=20000",
        ):
            await self.refused(header, target=target)
        bare = TARGET.partition("?")[0]
        await self.accepted(Signed(target=f"{bare}?"), target=f"{bare}?")
        await self.refused(Signed(target=bare).header(), target=f"{bare}?")

    async def test_signature_for_another_server_is_refused(self) -> None:
        """R50: whatever the header says about the destination."""
        for other in ("b.example", OTHER_HOST, HOST.upper(), f"{HOST}:8448", ""):
            for destination in (other, HOST, None):
                signed = Signed(signed_for=other, destination=destination)
                await self.refused(signed.header())
        await self.refused(Signed(destination="").header())

    async def test_missing_destination_is_accepted_and_counted(self) -> None:
        """R50."""
        before = counted()
        await self.accepted(Signed(destination=None))
        await self.accepted(Signed())
        self.assertEqual(counted(), before + 1)

    async def test_missing_destination_is_refused_by_a_switch(self) -> None:
        """R50."""
        self.config = self.configured(requireDestination=True)
        await self.refused(Signed(destination=None).header())
        await self.accepted(Signed())

    async def test_our_own_name_is_no_origin(self) -> None:
        """R51."""
        for origin in (HOST, HOST.upper()):
            self.source.published[origin] = document(origin, MMR)
            await self.refused(Signed(origin=origin).header())
        self.assertEqual(self.source.asked, [])

    async def test_every_entry_has_to_verify(self) -> None:
        """R51."""
        good = Signed().header()
        await self.refused(good, Signed(key=SYNAPSE).header())
        await self.refused(good, Signed(key=MMR_2, target="/other").header())
        await self.refused(good, b"X-Matrix origin")
        await self.refused(good, Signed(origin="c.example").header())
        await self.refused(*[good] * 6)

    async def test_forged_and_broken_signatures_get_one_answer(self) -> None:
        """R51, D25."""
        header = Signed().header()
        flipped = header.replace(b'sig="', b'sig="A')[:-2] + b'"'
        stranger = SigningKey(MMR.version, SYNAPSE.seed)
        for bad in (
            flipped,
            Signed(key=stranger).header(),
            Signed(key=SYNAPSE).header(),
            Signed(origin="unknown.example").header(),
            header[:-5],
            b"X-Matrix",
            b"X-Matrix \xff\x00",
            b"X-Matrix " + b"a" * 5000,
        ):
            await self.refused(bad)

    async def test_broken_key_documents_are_no_error_of_ours(self) -> None:
        """R51: never 500."""
        for published in (
            {},
            {"server_name": ORIGIN, "valid_until_ts": 2**60, "verify_keys": 5},
            document(ORIGIN, MMR, valid_until=1),
            document(ORIGIN, verify_keys={MMR.key_id: {"key": "A" * 42}}),
            json.loads('{"server_name": {"a": []}}'),
        ):
            self.source.published[ORIGIN] = published
            await self.refused(Signed().header())
            self.time.advance(3600)

    async def test_name_is_given_in_lower_case(self) -> None:
        """R58: lists of servers are compared with it."""
        origin = "Remote.Example"
        self.source.published[origin] = document(origin, MMR)
        header = Signed(origin=origin).header()
        name = await self.verifier.verify(self.request(header))
        self.assertEqual(name, "remote.example")

    async def test_forged_origins_of_one_address_cause_few_lookups(self) -> None:
        """R55."""
        statuses = await self.statuses_of_forgeries(1000, ["192.0.2.7"])
        self.assertEqual(statuses, [401] * 20 + [429] * 980)
        self.assertEqual(len(self.source.asked), 20)
        await self.refused(Signed(origin="forged.example").header(), address="::1")
        self.time.advance(60)
        await self.refused(Signed(origin="forged2.example").header())

    async def test_known_servers_are_not_limited(self) -> None:
        """R55."""
        await self.accepted(Signed())
        await self.statuses_of_forgeries(30, ["192.0.2.7"])
        for _ in range(30):
            await self.accepted(Signed())

    async def test_burst_of_one_server_costs_one_lookup(self) -> None:
        """R55: a server that comes back after our restart asks for much at once."""
        self.source.hanging[ORIGIN] = gate = Deferred()
        request = self.request(Signed().header())
        burst = [
            Deferred.fromCoroutine(self.verifier.verify(request)) for _ in range(100)
        ]
        gate.callback(None)
        self.assertEqual([await one for one in burst], [ORIGIN] * 100)

    async def test_ipv6_network_counts_as_one_address(self) -> None:
        """R55."""
        addresses = [f"2001:db8::{number:x}" for number in range(1, 50)]
        statuses = await self.statuses_of_forgeries(49, addresses)
        self.assertEqual(statuses.count(401), 20)

    async def test_table_of_addresses_is_bounded(self) -> None:
        """R55."""
        self.patch(lookup_limit, "_MAX_ADDRESSES", 10)
        addresses = [f"192.0.2.{number}" for number in range(200)]
        await self.statuses_of_forgeries(200, addresses)
        self.assertEqual(len(self.lookups), 10)
        self.time.advance(60)
        self.lookups.spend("192.0.2.1")
        self.assertEqual(len(self.lookups), 1)

    async def test_wait_is_told(self) -> None:
        """R78."""
        for _ in range(20):
            self.lookups.spend("192.0.2.7")
        self.time.advance(45)
        with self.assertRaises(MatrixError) as caught:
            self.lookups.spend("192.0.2.7")
        self.assertEqual(caught.exception.extra, {"retry_after_ms": 15_000})

    async def test_guard_lets_signed_servers_through_federation_routes(self) -> None:
        clock = Clock(self.time)
        guard = Authenticator(
            lambda: self.config,
            HomeserverClients(TrustedClient(self.time), clock),
            TokenCache(clock),
            self.verifier,
        )
        request = self.request(Signed().header())
        requester = await guard.authenticate(request, Access.FEDERATION)
        self.assertEqual(requester.server, ORIGIN)
        self.assertIsNone(requester.user_id)

    async def statuses_of_forgeries(
        self, count: int, addresses: Sequence[str]
    ) -> list[int]:
        statuses = []
        for number in range(count):
            header = Signed(origin=f"f{number}.example").header()
            address = addresses[number % len(addresses)]
            with self.assertRaises(MatrixError) as caught:
                await self.verifier.verify(self.request(header, address=address))
            statuses.append(caught.exception.status)
        return statuses
