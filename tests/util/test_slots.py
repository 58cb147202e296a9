"""How many run at once, and how many wait."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mmr.errors import MatrixError
from mmr.util.slots import SlotsByKey


class SlotsByKeyTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.size = 2
        self.slots = SlotsByKey("things", lambda: self.size, max_waiting=2)
        self.running: list[Deferred[None]] = []

    def run_one(self, key: str = "key") -> Deferred[None]:
        async def work() -> None:
            async with self.slots.taken(key):
                self.running.append(Deferred())
                await self.running[-1]

        return Deferred.fromCoroutine(work())

    def test_so_many_run_and_the_rest_waits_in_order(self) -> None:
        works = [self.run_one() for _ in range(4)]
        self.assertEqual(len(self.running), 2)
        self.running[0].callback(None)
        self.successResultOf(works[0])
        self.assertEqual(len(self.running), 3)
        for number in (1, 2, 3):
            self.running[number].callback(None)
            self.successResultOf(works[number])

    def test_too_many_are_refused(self) -> None:
        for _ in range(4):
            self.run_one()
        failure = self.failureResultOf(self.run_one(), MatrixError)
        self.assertEqual(failure.value.status, 503)

    def test_a_full_key_holds_up_no_other(self) -> None:
        """R20."""
        for _ in range(4):
            self.run_one()
        self.run_one("other")
        self.assertEqual(len(self.running), 3)

    def test_nothing_is_kept_of_keys_without_askers(self) -> None:
        works = [self.run_one(key) for key in ("a", "b", "b", "b")]
        works[3].cancel()
        self.failureResultOf(works[3], CancelledError)
        self.assertEqual(len(self.slots), 2)
        self.running[1].errback(ValueError("broken"))
        self.failureResultOf(works[1], ValueError)
        for number in (0, 2):
            self.running[number].callback(None)
            self.successResultOf(works[number])
        self.assertEqual(len(self.slots), 0)

    def test_the_size_may_change(self) -> None:
        works = [self.run_one() for _ in range(4)]
        self.size = 1
        self.running[0].callback(None)
        self.assertEqual(len(self.running), 2)
        self.running[1].callback(None)
        self.assertEqual(len(self.running), 3)
        self.running[2].callback(None)
        self.running[3].callback(None)
        for work in works:
            self.successResultOf(work)
        self.assertEqual(len(self.slots), 0)
