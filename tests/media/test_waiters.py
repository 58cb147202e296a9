"""Downloads that wait for an upload (D49), on a fake clock."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock as FakeReactor
from twisted.trial.unittest import SynchronousTestCase

from mmr.media.waiters import UploadWaiters
from mmr.types import Mxc
from mmr.util.clock import Clock

MXC = Mxc("media.example", "abc")


class UploadWaitersTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.waiters = UploadWaiters(Clock(self.reactor))
        self.found: str | None = None
        self.looks = 0

    async def look(self) -> str | None:
        self.looks += 1
        return self.found

    def wait(self, timeout_s: float = 20) -> Deferred[str | None]:
        return Deferred.fromCoroutine(self.waiters.wait_for(MXC, self.look, timeout_s))

    def tearDown(self) -> None:
        self.assertEqual(self.waiters._waiting, {})
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_what_is_there_is_given_at_once(self) -> None:
        self.found = "it"
        self.assertEqual(self.successResultOf(self.wait()), "it")

    def test_a_notice_wakes_everybody(self) -> None:
        waits = [self.wait() for _ in range(3)]
        self.found = "it"
        self.waiters.notify(Mxc("media.example", "other"))
        self.assertNoResult(waits[0])
        self.waiters.notify(MXC)
        self.assertEqual([self.successResultOf(each) for each in waits], ["it"] * 3)

    def test_no_notice_is_needed(self) -> None:
        """Another process may have taken the upload."""
        wait = self.wait()
        self.found = "it"
        self.reactor.pump([0.5] * 4)
        self.assertEqual(self.successResultOf(wait), "it")

    def test_the_time_ends(self) -> None:
        wait = self.wait(2.5)
        self.reactor.pump([0.5] * 4)
        self.assertNoResult(wait)
        self.reactor.pump([0.5] * 2)
        self.assertIsNone(self.successResultOf(wait))

    def test_no_time_is_one_look(self) -> None:
        self.assertIsNone(self.successResultOf(self.wait(0)))
        self.assertEqual(self.looks, 1)

    def test_an_upload_that_ends_within_the_look_is_not_missed(self) -> None:
        """D49: the lost wake-up."""
        looking: Deferred[None] = Deferred()
        first = True

        async def slow_look() -> str | None:
            nonlocal first
            if first:
                first = False
                await looking
                return None
            return "it"

        wait = Deferred.fromCoroutine(self.waiters.wait_for(MXC, slow_look, 20))
        self.waiters.notify(MXC)
        looking.callback(None)
        self.assertEqual(self.successResultOf(wait), "it")

    def test_who_leaves_is_forgotten(self) -> None:
        """R66."""
        wait = self.wait()
        wait.cancel()
        self.failureResultOf(wait, CancelledError)

    def test_a_look_that_fails_ends_the_wait(self) -> None:
        async def fail() -> None:
            raise ValueError("broken")

        wait = Deferred.fromCoroutine(self.waiters.wait_for(MXC, fail, 20))
        self.failureResultOf(wait, ValueError)
