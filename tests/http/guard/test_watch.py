"""How slowly a body may arrive."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeClock
from twisted.trial.unittest import SynchronousTestCase

from mmr.http.guard.body import BUFFER_BYTES, IncomingBody
from mmr.http.guard.head import parse_head
from mmr.http.guard.limits import Purpose
from mmr.http.guard.watch import Watch
from mmr.util.clock import Clock

MEDIA = Purpose("media")
PAGE = Purpose("page", total_seconds=100)


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.time = FakeClock()
        self.late: list[str] = []
        self.body = IncomingBody(
            parse_head(b"HTTP/1.1 200 x"), lambda: None, lambda: None, lambda: None
        )

    def watch(self, purpose: Purpose, deadline: float | None = None) -> Watch:
        clock = Clock(self.time)
        return Watch(clock, purpose, self.body, deadline, self.late.append)

    def trickle(self, seconds: int, size: int, every: int = 1) -> None:
        for second in range(seconds):
            self.time.advance(1)
            if second % every == 0:
                self.body.receive(b"x" * size)
                self.drain()

    def drain(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.body.take()))

    def test_silence_ends_it(self) -> None:
        """R15: 30 s idle."""
        self.watch(MEDIA)
        self.time.pump([1] * 29)
        self.assertEqual(self.late, [])
        self.time.pump([1] * 5)
        self.assertEqual(self.late, ["nothing arrived for 30 s"])

    def test_trickle_extends_nothing(self) -> None:
        """R15: less than 4 KiB/s over 60 s."""
        self.watch(MEDIA)
        self.trickle(70, size=100)
        self.assertEqual(self.late, ["slower than 4096 bytes/s"])

    def test_large_file_at_a_fair_rate_takes_its_time(self) -> None:
        """R15, D37: no deadline for media."""
        self.watch(MEDIA)
        self.trickle(1000, size=5000)
        self.assertEqual(self.late, [])

    def test_page_has_a_deadline_in_the_place_of_a_rate(self) -> None:
        """R15."""
        self.watch(PAGE, deadline=100)
        self.trickle(99, size=1)
        self.assertEqual(self.late, [])
        self.time.advance(1)
        self.assertEqual(self.late, ["not done within 100 s"])

    def test_our_own_slow_reader_is_not_the_peer_s_fault(self) -> None:
        """R15: but the deadline holds all the same."""
        self.watch(MEDIA)
        self.body.receive(b"x" * BUFFER_BYTES)
        self.time.pump([1] * 500)
        self.assertEqual(self.late, [])
        self.drain()
        self.time.pump([1] * 25)
        self.assertEqual(self.late, [])
        self.time.pump([1] * 10)
        self.assertEqual(len(self.late), 1)

    def test_stops(self) -> None:
        self.watch(MEDIA).stop()
        self.assertEqual(self.time.getDelayedCalls(), [])
