"""The circuit breaker, on a clock that is moved by hand."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeClock
from twisted.trial.unittest import TestCase

from mmr.auth.breaker import Breaker, BreakerOpen
from mmr.http.client import UpstreamUnavailable
from mmr.util.clock import Clock


class BreakerTests(TestCase):
    def setUp(self) -> None:
        self.time = FakeClock()
        self.breaker = Breaker(3, Clock(self.time))
        self.calls = 0

    async def good(self) -> str:
        self.calls += 1
        return "answer"

    async def bad(self) -> str:
        self.calls += 1
        raise UpstreamUnavailable("down")

    async def go_wrong(self, times: int) -> None:
        for _ in range(times):
            with self.assertRaises(UpstreamUnavailable):
                await self.breaker.call(self.bad)

    async def test_opens_after_consecutive_faults(self) -> None:
        await self.go_wrong(3)
        with self.assertRaises(BreakerOpen):
            await self.breaker.call(self.good)
        self.assertEqual(self.calls, 3)

    async def test_success_starts_the_count_again(self) -> None:
        await self.go_wrong(2)
        await self.breaker.call(self.good)
        await self.go_wrong(2)
        self.assertFalse(self.breaker.is_open)

    async def test_probe_that_succeeds_closes_it(self) -> None:
        await self.go_wrong(3)
        self.time.advance(0.76)
        self.assertEqual(await self.breaker.call(self.good), "answer")
        self.assertFalse(self.breaker.is_open)

    async def test_window_is_half_a_second_give_or_take_half(self) -> None:
        await self.go_wrong(3)
        self.time.advance(0.24)
        with self.assertRaises(BreakerOpen):
            await self.breaker.call(self.good)

    async def test_one_probe_a_window(self) -> None:
        await self.go_wrong(3)
        self.time.advance(1)
        answer: Deferred[str] = Deferred()

        async def hanging() -> str:
            return await answer

        probe = Deferred.fromCoroutine(self.breaker.call(hanging))
        with self.assertRaises(BreakerOpen):
            await self.breaker.call(self.good)
        answer.callback("late")
        self.assertEqual(await probe, "late")
        self.assertFalse(self.breaker.is_open)

    async def test_windows_grow_up_to_a_minute(self) -> None:
        await self.go_wrong(3)
        for _ in range(30):
            self.time.advance(91)
            await self.go_wrong(1)
        self.time.advance(29)
        with self.assertRaises(BreakerOpen):
            await self.breaker.call(self.good)
        self.time.advance(62)
        await self.breaker.call(self.good)

    async def test_faults_of_calls_from_before_do_not_lengthen_the_window(self) -> None:
        stuck: list[Deferred[str]] = []

        async def hanging() -> str:
            stuck.append(Deferred())
            return await stuck[-1]

        early = [Deferred.fromCoroutine(self.breaker.call(hanging)) for _ in range(50)]
        await self.go_wrong(3)
        for answer, call in zip(stuck, early, strict=True):
            answer.errback(UpstreamUnavailable("down"))
            self.failureResultOf(call, UpstreamUnavailable)
        self.time.advance(0.76)
        await self.breaker.call(self.good)

    async def test_cancelled_probe_lets_the_next_one_through(self) -> None:
        await self.go_wrong(3)
        self.time.advance(1)

        async def hanging() -> str:
            return await Deferred()

        probe = Deferred.fromCoroutine(self.breaker.call(hanging))
        probe.cancel()
        self.failureResultOf(probe)
        await self.breaker.call(self.good)
        self.assertFalse(self.breaker.is_open)
