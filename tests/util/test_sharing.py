"""Work that many wait for, and work that nobody waits for any more."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mmr.util.shield import shield
from mmr.util.single_flight import SingleFlight


class SingleFlightTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.flight: SingleFlight[str, int] = SingleFlight()
        self.works: list[Deferred[int]] = []

    def ask(self, key: str = "key") -> Deferred[int]:
        async def work() -> int:
            self.works.append(Deferred())
            return await self.works[-1]

        return Deferred.fromCoroutine(self.flight.run(key, work))

    def test_all_who_ask_share_one_run(self) -> None:
        askers = [self.ask() for _ in range(3)]
        self.assertEqual((len(self.works), len(self.flight)), (1, 1))
        self.works[0].callback(7)
        self.assertEqual([self.successResultOf(each) for each in askers], [7] * 3)
        self.assertEqual(len(self.flight), 0)

    def test_keys_are_apart_and_results_are_not_kept(self) -> None:
        first, other = self.ask(), self.ask("other")
        self.assertEqual(len(self.works), 2)
        self.works[0].callback(1)
        again = self.ask()
        self.assertEqual(len(self.works), 3)
        self.works[2].callback(3)
        self.works[1].callback(2)
        results = [self.successResultOf(each) for each in (first, other, again)]
        self.assertEqual(results, [1, 2, 3])

    def test_a_failure_is_everybodys(self) -> None:
        askers = [self.ask() for _ in range(2)]
        self.works[0].errback(ValueError("broken"))
        for each in askers:
            self.failureResultOf(each, ValueError)
        again = self.ask()
        self.works[1].callback(7)
        self.assertEqual(self.successResultOf(again), 7)

    def test_an_asker_who_leaves_stops_nothing(self) -> None:
        """R66: others wait."""
        leaver, other = self.ask(), self.ask()
        leaver.cancel()
        self.failureResultOf(leaver, CancelledError)
        self.works[0].callback(7)
        self.assertEqual(self.successResultOf(other), 7)

    def test_the_run_goes_on_when_all_have_left(self) -> None:
        leaver = self.ask()
        leaver.cancel()
        self.failureResultOf(leaver, CancelledError)
        late = self.ask()
        self.assertEqual(len(self.works), 1)
        self.works[0].callback(7)
        self.assertEqual(self.successResultOf(late), 7)


class DroppedFlightTest(SynchronousTestCase):
    """R66: costly work ends when nobody waits for it any more."""

    def setUp(self) -> None:
        self.flight: SingleFlight[str, int] = SingleFlight(is_dropped=True)
        self.works: list[Deferred[int]] = []
        self.clearing_up: Deferred[None] | None = None
        self.ended: list[str] = []

    def ask(self) -> Deferred[int]:
        async def work() -> int:
            self.works.append(Deferred())
            try:
                return await self.works[-1]
            except CancelledError:
                if self.clearing_up is not None:
                    await self.clearing_up
                self.ended.append("cancelled")
                raise

        return Deferred.fromCoroutine(self.flight.run("key", work))

    def leave(self, asker: Deferred[int]) -> None:
        asker.cancel()
        self.failureResultOf(asker, CancelledError)

    def test_it_goes_on_while_somebody_waits(self) -> None:
        first, second, third = (self.ask() for _ in range(3))
        self.leave(first)
        self.leave(third)
        self.assertEqual(self.ended, [])
        self.works[0].callback(7)
        self.assertEqual(self.successResultOf(second), 7)
        self.assertEqual(len(self.flight), 0)

    def test_it_is_cancelled_when_the_last_one_has_left(self) -> None:
        askers = [self.ask() for _ in range(2)]
        for asker in askers:
            self.leave(asker)
        self.assertEqual((self.ended, len(self.flight)), (["cancelled"], 0))

    def test_who_comes_while_it_is_cleared_up_begins_anew(self) -> None:
        self.clearing_up = Deferred()
        self.leave(self.ask())
        late = self.ask()
        self.assertEqual((len(self.works), self.ended), (2, []))
        self.clearing_up.callback(None)
        self.assertEqual((self.ended, len(self.flight)), (["cancelled"], 1))
        self.works[1].callback(7)
        self.assertEqual(self.successResultOf(late), 7)

    def test_an_asker_that_makes_another_leave_disturbs_nothing(self) -> None:
        first, second = self.ask(), self.ask()
        first.addCallback(lambda _: second.cancel())
        self.works[0].callback(7)
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.ended, [])


class ShieldTest(SynchronousTestCase):
    def start(self) -> tuple[Deferred[int], Deferred[int], list[int]]:
        inner: Deferred[int] = Deferred()
        done: list[int] = []

        async def work() -> int:
            done.append(await inner)
            return done[-1]

        return shield(work()), inner, done

    def test_the_result_comes_through(self) -> None:
        outer, inner, _ = self.start()
        inner.callback(7)
        self.assertEqual(self.successResultOf(outer), 7)

    def test_the_failure_comes_through(self) -> None:
        outer, inner, _ = self.start()
        inner.errback(ValueError("broken"))
        self.failureResultOf(outer, ValueError)

    def test_cancelling_ends_the_wait_and_not_the_work(self) -> None:
        """R66: a commit is never left half way."""
        outer, inner, done = self.start()
        outer.cancel()
        self.failureResultOf(outer, CancelledError)
        self.assertFalse(inner.called)
        inner.callback(7)
        self.assertEqual(done, [7])

    def test_a_failure_that_nobody_waits_for_is_logged(self) -> None:
        outer, inner, _ = self.start()
        outer.cancel()
        self.failureResultOf(outer, CancelledError)
        inner.errback(ValueError("broken"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
