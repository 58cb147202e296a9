"""Background copying stays below its rate, however many copy at once."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeReactor
from twisted.trial.unittest import TestCase

from mmr.tasks.brake import Brake
from mmr.util.clock import Clock


class BrakeTests(TestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.clock = Clock(self.reactor)  # type: ignore[arg-type]

    def copied(self, brake: Brake, count: int) -> Deferred[None]:
        return Deferred.fromCoroutine(brake.copied(count))

    def test_everybody_together_has_one_rate(self) -> None:
        brake = Brake(self.clock, 100)
        first, second = self.copied(brake, 100), self.copied(brake, 50)
        self.reactor.advance(0.9)
        self.assertEqual((first.called, second.called), (False, False))
        self.reactor.advance(0.1)
        self.assertEqual((first.called, second.called), (True, False))
        self.reactor.advance(0.5)
        self.assertTrue(second.called)

    def test_time_without_work_is_not_saved_up(self) -> None:
        brake = Brake(self.clock, 100)
        self.reactor.advance(1000)
        late = self.copied(brake, 100)
        self.reactor.advance(0.9)
        self.assertFalse(late.called)
        self.reactor.advance(0.1)
        self.assertTrue(late.called)

    def test_without_a_rate_nobody_waits(self) -> None:
        self.assertTrue(self.copied(Brake(self.clock, 0), 10**12).called)
