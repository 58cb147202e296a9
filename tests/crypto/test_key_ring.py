"""The key ring, on a clock that is moved by hand."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeClock
from twisted.trial.unittest import TestCase

from mmr.crypto import key_ring
from mmr.crypto.key_fetchers import KeysUnavailable
from mmr.crypto.key_ring import KeyRing
from mmr.crypto.keys import VerifyKey
from mmr.util.clock import Clock

from tests.crypto.documents import WEEK_MS, FakeSource, document
from tests.crypto.vectors import MMR, MMR_2

HOST = "a.example"
HOUR = 3600
DAY = 24 * HOUR


class KeyRingTests(TestCase):
    def setUp(self) -> None:
        self.time = FakeClock()
        self.source, self.notary = FakeSource(), FakeSource()
        self.refused: set[str] = set()
        self.ring = KeyRing(
            lambda: [self.source, self.notary], Clock(self.time), lambda: self.refused
        )

    def publish(self, *keys: Any, seconds: float = 7 * DAY) -> None:
        until = int((self.time.seconds() + seconds) * 1000)
        self.source.published[HOST] = document(HOST, *keys, valid_until=until)

    async def fails(self, key_id: str = MMR.key_id, server: str = HOST) -> None:
        with self.assertRaises(KeysUnavailable):
            await self.ring.verify_key(server, key_id)

    async def good(self, key: Any = MMR) -> None:
        found = await self.ring.verify_key(HOST, key.key_id)
        self.assertEqual(found, key.verify_key)

    def asked(self) -> int:
        return len(self.source.asked)

    async def test_key_is_fetched_once_and_kept(self) -> None:
        self.publish(MMR, MMR_2)
        for _ in range(3):
            await self.good(MMR)
            await self.good(MMR_2)
        self.assertEqual(self.asked(), 1)
        self.assertEqual(self.notary.asked, [])

    async def test_keys_are_asked_for_again_at_half_their_validity(self) -> None:
        """R52."""
        self.publish(MMR, seconds=2 * HOUR)
        await self.good()
        self.time.advance(HOUR - 1)
        await self.good()
        self.assertEqual(self.asked(), 1)
        self.time.advance(1)
        await self.good()
        self.assertEqual(self.asked(), 2)

    async def test_validity_is_cut_at_seven_days(self) -> None:
        """R52: half of it is three and a half."""
        self.publish(MMR, seconds=1000 * DAY)
        await self.good()
        self.source.published.clear()
        self.time.advance(3.5 * DAY - 1)
        await self.good()
        self.assertEqual(self.asked(), 1)
        self.time.advance(3.5 * DAY + 1)
        await self.fails()

    async def test_valid_keys_outlive_a_server_that_is_down(self) -> None:
        self.publish(MMR, seconds=2 * HOUR)
        await self.good()
        self.source.published.clear()
        self.time.advance(HOUR)
        await self.good()
        self.assertEqual(self.asked(), 2)
        self.time.advance(HOUR)
        await self.fails()

    async def test_withdrawn_key_dies_with_the_next_fetch(self) -> None:
        """R52."""
        self.publish(MMR, seconds=2 * HOUR)
        await self.good()
        self.publish(MMR_2)
        self.time.advance(HOUR)
        await self.fails()

    async def test_expired_and_short_lived_documents_are_refused(self) -> None:
        """R52; MMR refuses what it would have to ask for again within a minute."""
        for seconds in (-5, 0, 119):
            self.publish(MMR, seconds=seconds)
            await self.fails()
            self.time.advance(HOUR)

    async def test_another_servers_document_is_refused(self) -> None:
        """R52."""
        self.source.published[HOST] = document("b.example", MMR)
        await self.fails()

    async def test_rotated_key_works_at_once(self) -> None:
        """R53."""
        self.publish(MMR)
        await self.good()
        self.publish(MMR_2)
        await self.good(MMR_2)
        self.assertEqual(self.asked(), 2)

    async def test_made_up_key_ids_cost_one_fetch(self) -> None:
        """R53."""
        self.publish(MMR)
        for number in range(1000):
            await self.fails(f"ed25519:{number}")
        self.assertEqual(self.asked(), 1)
        await self.good()
        self.time.advance(299)
        await self.fails("ed25519:1")
        self.assertEqual(self.asked(), 1)
        self.time.advance(1)
        await self.fails("ed25519:1")
        await self.fails("ed25519:2")
        self.assertEqual(self.asked(), 2)

    async def test_requests_of_one_server_share_a_fetch(self) -> None:
        """R53, R54."""
        self.publish(MMR)
        self.source.hanging[HOST] = gate = Deferred()
        waiting = [
            Deferred.fromCoroutine(self.ring.verify_key(HOST, MMR.key_id))
            for _ in range(100)
        ]
        self.assertFalse(self.ring.needs_fetch(HOST, MMR.key_id))
        waiting.pop().addErrback(lambda _: None).cancel()
        gate.callback(None)
        for one in waiting:
            self.assertEqual(await one, MMR.verify_key)
        self.assertEqual(self.asked(), 1)

    async def test_hanging_servers_delay_no_other(self) -> None:
        """R54."""
        found: list[Deferred[VerifyKey]] = []
        for number in range(50):
            name = f"slow{number}.example"
            self.source.hanging[name] = Deferred()
            found.append(
                Deferred.fromCoroutine(self.ring.verify_key(name, "ed25519:1"))
            )
        self.publish(MMR)
        await self.good()
        self.assertFalse(any(one.called for one in found))
        self.time.advance(10)
        for one in found:
            self.failureResultOf(one, KeysUnavailable)

    async def test_notary_is_asked_when_the_server_is_down(self) -> None:
        self.source.hanging[HOST] = Deferred()
        self.notary.published[HOST] = document(HOST, MMR)
        found = Deferred.fromCoroutine(self.ring.verify_key(HOST, MMR.key_id))
        self.assertNoResult(found)
        self.time.advance(10)
        self.assertEqual(self.successResultOf(found), MMR.verify_key)

    async def test_notary_without_the_servers_signature_proves_nothing(self) -> None:
        self.notary.published[HOST] = {**document(HOST, MMR), "signatures": {}}
        await self.fails()

    async def test_failures_are_remembered_with_growing_pauses(self) -> None:
        """R53."""
        for pause in (10, 20, 40, 80, 160, 320, 600, 600):
            before = self.asked()
            await self.fails()
            self.time.advance(pause - 1)
            await self.fails()
            self.assertEqual(self.asked(), before + 1)
            self.assertFalse(self.ring.needs_fetch(HOST, MMR.key_id))
            self.time.advance(1)
        self.publish(MMR)
        await self.good()
        self.time.advance(4 * DAY)
        self.source.published.clear()
        await self.good()
        self.time.advance(10)
        self.assertTrue(self.ring.needs_fetch(HOST, MMR.key_id))

    async def test_unexpected_error_is_logged_and_counts_as_failure(self) -> None:
        """R51: never 500."""
        self.source.published[HOST] = RuntimeError("a bug")
        with self.assertLogs("mmr.crypto.key_ring", "ERROR"):
            await self.fails()

    async def test_refused_keys_are_refused_at_once(self) -> None:
        """R56."""
        self.publish(MMR)
        await self.good()
        self.refused.add(MMR.verify_key.text)
        await self.fails()

    async def test_memory_is_bounded_and_keeps_what_is_used(self) -> None:
        """R55: made-up servers push no keys out, other servers the unused ones."""
        self.patch(key_ring, "_MAX_SERVERS", 3)
        self.ring = KeyRing(lambda: [self.source], Clock(self.time))
        self.publish(MMR)
        await self.good()
        for number in range(10):
            await self.fails(server=f"forged{number}.example")
        for number in range(10):
            name = f"real{number}.example"
            self.source.published[name] = document(name, MMR, valid_until=WEEK_MS)
            await self.ring.verify_key(name, MMR.key_id)
            await self.good()
        self.assertEqual(self.source.asked.count(HOST), 1)
        self.assertEqual(len(self.ring), 3)

    async def test_needs_fetch_tells_what_verify_key_would_do(self) -> None:
        """R55."""
        self.publish(MMR)

        def needs(key_id: str) -> bool:
            return self.ring.needs_fetch(HOST, key_id)

        self.assertTrue(needs(MMR.key_id))
        await self.good()
        self.assertFalse(needs(MMR.key_id))
        self.assertTrue(needs("ed25519:new"))
        await self.fails("ed25519:new")
        self.assertFalse(needs("ed25519:newer"))
