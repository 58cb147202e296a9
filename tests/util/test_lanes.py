"""Work beside its caller."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from mmr.util.lanes import Lanes, together
from mmr.util.shield import shield


class LaneTests(TestCase):
    def setUp(self) -> None:
        self.ends: list[Deferred[None]] = []

    async def work(self) -> None:
        end: Deferred[None] = Deferred()
        self.ends.append(end)
        await end

    def test_so_much_runs_at_once_and_all_is_waited_for(self) -> None:
        async def caller() -> str:
            async with Lanes(2) as lanes:
                for _ in range(3):
                    await lanes.start(self.work())
            return "over"

        over = Deferred.fromCoroutine(caller())
        self.assertEqual(len(self.ends), 2)
        self.ends[1].callback(None)
        self.assertEqual(len(self.ends), 3)
        self.ends[0].callback(None)
        self.assertNoResult(over)
        self.ends[2].callback(None)
        self.assertEqual(self.successResultOf(over), "over")

    def test_it_is_told_when_one_has_ended(self) -> None:
        async def caller() -> None:
            async with Lanes(1) as lanes:
                ended = await lanes.start(self.work())
                self.assertFalse(ended.called)
                self.ends[0].callback(None)
                self.assertTrue(ended.called)

        self.successResultOf(Deferred.fromCoroutine(caller()))

    def test_a_failure_is_raised_and_nothing_more_is_begun(self) -> None:
        for after in (0, 1):
            self.ends.clear()

            async def caller(after: int = after) -> None:
                async with Lanes(2) as lanes:
                    await lanes.start(self.work())
                    self.ends[0].errback(ValueError("bad"))
                    for _ in range(after):
                        await lanes.start(self.work())

            self.failureResultOf(Deferred.fromCoroutine(caller()), ValueError)
            self.assertEqual(len(self.ends), 1)

    def test_the_callers_own_failure_comes_first_and_waits_for_the_rest(self) -> None:
        async def caller() -> None:
            async with Lanes(2) as lanes:
                await lanes.start(self.work())
                raise KeyError("mine")

        over = Deferred.fromCoroutine(caller())
        self.assertNoResult(over)
        self.ends[0].errback(ValueError("theirs"))
        self.failureResultOf(over, KeyError)

    def test_who_is_cancelled_waits_for_what_is_under_way(self) -> None:
        """A program would close the database under a commit."""

        async def storing() -> None:
            await shield(self.work())

        async def caller() -> None:
            async with Lanes(2) as lanes:
                await lanes.start(storing())

        over = Deferred.fromCoroutine(caller())
        over.cancel()
        self.assertNoResult(over)
        self.ends[0].callback(None)
        self.failureResultOf(over, CancelledError)

    def test_who_is_cancelled_while_it_waits_begins_nothing(self) -> None:
        async def caller() -> None:
            async with Lanes(1) as lanes:
                await lanes.start(self.work())
                await lanes.start(self.work())

        over = Deferred.fromCoroutine(caller())
        over.cancel()
        self.assertNoResult(over)
        self.ends[0].callback(None)
        self.failureResultOf(over, CancelledError)
        self.assertEqual(len(self.ends), 1)


class TogetherTests(TestCase):
    async def work(self, number: int, error: Exception | None = None) -> int:
        self.begun.append(number)
        await self.gate
        if error is not None:
            raise error
        self.ended.append(number)
        return number

    def setUp(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.gate: Deferred[None] = Deferred()

    def test_results_come_in_order(self) -> None:
        over = Deferred.fromCoroutine(together(self.work(n) for n in range(3)))
        self.assertEqual(self.begun, [0, 1, 2])
        self.assertNoResult(over)
        self.gate.callback(None)
        self.assertEqual(self.successResultOf(over), [0, 1, 2])

    def test_the_first_failure_is_raised_as_it_was_once_all_have_ended(self) -> None:
        works = [self.work(0), self.work(1, ValueError("1")), self.work(2, KeyError())]
        over = Deferred.fromCoroutine(together([*works, self.work(3)]))
        self.gate.callback(None)
        self.assertEqual(str(self.failureResultOf(over, ValueError).value), "1")
        self.assertEqual(self.ended, [0, 3])
