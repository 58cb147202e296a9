"""How many guarded requests run and wait."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock as FakeClock
from twisted.trial.unittest import SynchronousTestCase

from mmr.errors import MatrixError
from mmr.http.guard.budget import Bound, Bounds, Budget, Slot
from mmr.util.clock import Clock

BOUNDS = Bounds(per_destination=Bound(2, 3), per_user=Bound(3, 2), total=Bound(4, 6))


class BudgetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.time = FakeClock()
        self.budget = Budget(Clock(self.time), BOUNDS, wait_seconds=30)

    def ask(self, destination: str, user: str | None = None, **more: Any) -> Any:
        return Deferred.fromCoroutine(self.budget.acquire(destination, user, **more))

    def granted(self, destination: str, user: str | None = None) -> Slot:
        slot: Slot = self.successResultOf(self.ask(destination, user))
        return slot

    def assert_busy(self, asked: Any) -> None:
        error = self.failureResultOf(asked, MatrixError).value
        self.assertEqual(error.status, 503)

    def test_one_destination_holds_up_no_other(self) -> None:
        """R20."""
        for _ in range(2):
            self.granted("slow")
        queued = [self.ask("slow") for _ in range(3)]
        self.granted("quick")
        for asked in queued:
            self.assertNoResult(asked)

    def test_one_user_holds_up_no_other(self) -> None:
        """R20."""
        for number in range(3):
            self.granted(f"{number}", "ann")
        self.assertNoResult(self.ask("4", "ann"))
        self.granted("4", "bob")

    def test_slots_go_to_the_first_that_fits(self) -> None:
        slots = [self.granted("a"), self.granted("a")]
        self.granted("b", "ann")
        self.granted("c")
        first, second, other = self.ask("a"), self.ask("a"), self.ask("d")
        slots[0].release()
        self.successResultOf(first)
        self.assertNoResult(other)
        slots[1].release()
        self.successResultOf(second)
        self.assertEqual((self.budget.running, self.budget.waiting), (4, 1))

    def test_waiting_is_bounded_by_destination_user_and_in_all(self) -> None:
        """R20: 503 past the bound."""
        for number in range(4):
            self.granted(f"{number % 2}")
        waiting = [self.ask("a") for _ in range(3)]
        self.assert_busy(self.ask("a"))
        waiting += [self.ask(f"u{n}", "ann") for n in range(2)]
        self.assert_busy(self.ask("u3", "ann"))
        waiting += [self.ask("last")]
        self.assert_busy(self.ask("one more"))
        self.assertEqual(self.budget.waiting, 6)

    def test_wait_ends(self) -> None:
        """R15: waiting has its limit too."""
        self.granted("a")
        self.granted("a")
        long, short = self.ask("a"), self.ask("a", seconds=5)
        self.time.advance(5)
        self.assert_busy(short)
        self.assertNoResult(long)
        self.time.advance(25)
        self.assert_busy(long)
        self.assertEqual(self.budget.waiting, 0)

    def test_who_leaves_makes_room(self) -> None:
        slots = [self.granted("a"), self.granted("a")]
        asked = self.ask("a")
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        slots[0].release()
        self.assertEqual((self.budget.running, self.budget.waiting), (1, 0))

    def test_slot_is_given_back_once(self) -> None:
        slot = self.granted("a")
        self.granted("a")
        slot.release()
        slot.release()
        self.assertEqual(self.budget.running, 1)

    def test_nothing_is_kept_of_who_is_gone(self) -> None:
        """R20: names of strangers don't fill the memory."""
        for number in range(100):
            self.granted(f"{number}", f"user {number}").release()
        self.assertEqual(len(self.budget._running) + len(self.budget._waiting), 0)
