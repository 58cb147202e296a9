"""Time that tests can replace."""

from __future__ import annotations

import time

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock as FakeReactor
from twisted.trial.unittest import SynchronousTestCase

from mmr.util.clock import Clock


class ClockTest(SynchronousTestCase):
    def test_a_fake_reactor_gives_both_times(self) -> None:
        fake = FakeReactor()
        clock = Clock(fake)
        fake.advance(1.5)
        self.assertEqual((clock.time_ms(), clock.monotonic()), (1500, 1.5))

    def test_the_real_one_gives_wall_and_monotonic_time(self) -> None:
        """R100."""
        clock = Clock(reactor)  # type: ignore[arg-type]
        self.assertLess(abs(clock.time_ms() / 1000 - time.time()), 5)
        self.assertLess(abs(clock.monotonic() - time.monotonic()), 5)

    def test_sleep_ends_in_time_or_when_it_is_cancelled(self) -> None:
        fake = FakeReactor()
        clock = Clock(fake)
        sleep = clock.sleep(10)
        fake.advance(9)
        self.assertNoResult(sleep)
        fake.advance(1)
        self.assertIsNone(self.successResultOf(sleep))
        sleep = clock.sleep(10)
        sleep.cancel()
        self.failureResultOf(sleep, CancelledError)
        self.assertEqual(fake.getDelayedCalls(), [])

    def test_call_later(self) -> None:
        fake = FakeReactor()
        calls: list[int] = []
        Clock(fake).call_later(1, calls.append, 7)
        fake.advance(1)
        self.assertEqual(calls, [7])
