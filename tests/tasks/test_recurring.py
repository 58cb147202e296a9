"""Recurring work: it never overlaps itself and never dies of one error."""

from __future__ import annotations

import logging

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeReactor
from twisted.trial.unittest import TestCase

from mmr.tasks.recurring import RecurringJob, RecurringJobs, run_once
from mmr.util.clock import Clock


class RecurringJobsTest(TestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.runs = 0

    def started(self, run, interval_s: float = 10) -> RecurringJobs:  # type: ignore[no-untyped-def]
        jobs = RecurringJobs(
            [RecurringJob("test", interval_s, run)], Clock(self.reactor)
        )
        jobs.start()
        return jobs

    async def count_run(self) -> None:
        self.runs += 1

    def pass_time(self, seconds: float) -> None:
        self.reactor.pump([0.5] * int(seconds * 2))

    async def test_the_first_run_comes_after_an_interval(self) -> None:
        jobs = self.started(self.count_run)
        self.pass_time(8)
        self.assertEqual(self.runs, 0)
        self.pass_time(4)
        self.assertEqual(self.runs, 1)
        await jobs.stop()

    async def test_runs_come_at_the_interval_give_or_take_a_tenth(self) -> None:
        jobs = self.started(self.count_run)
        self.pass_time(1000)
        self.assertTrue(89 <= self.runs <= 112, self.runs)
        await jobs.stop()

    async def test_a_run_that_takes_long_is_not_overtaken(self) -> None:
        runs: list[Deferred[None]] = []

        async def slow() -> None:
            runs.append(Deferred())
            await runs[-1]

        jobs = self.started(slow)
        self.pass_time(100)
        self.assertEqual(len(runs), 1)
        runs[0].callback(None)
        self.assertEqual(len(runs), 1)
        self.pass_time(12)
        self.assertEqual(len(runs), 2)
        await jobs.stop()

    async def test_an_error_is_logged_and_the_next_run_comes(self) -> None:
        async def fail() -> None:
            self.runs += 1
            raise ValueError("a bad day")

        jobs = self.started(fail)
        with self.assertLogs("mmr.tasks.recurring", logging.ERROR) as logs:
            self.pass_time(50)
        self.assertGreater(self.runs, 2)
        self.assertIn("job test failed", logs.output[0])
        await jobs.stop()

    async def test_one_jobs_trouble_is_not_anothers(self) -> None:
        async def hang() -> None:
            await Deferred()

        jobs = RecurringJobs(
            [RecurringJob("hangs", 1, hang), RecurringJob("runs", 1, self.count_run)],
            Clock(self.reactor),
        )
        jobs.start()
        self.pass_time(20)
        self.assertGreater(self.runs, 10)
        await jobs.stop()

    async def test_stop_ends_pauses_and_runs(self) -> None:
        ended = []

        async def hang() -> None:
            try:
                await Deferred()
            finally:
                ended.append(True)

        jobs = self.started(hang)
        self.pass_time(12)
        await jobs.stop()
        self.assertEqual(ended, [True])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        jobs = self.started(self.count_run)
        await jobs.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    async def test_one_run_swallows_its_failure_but_no_cancellation(self) -> None:
        async def fail() -> None:
            raise ValueError("a bad day")

        with self.assertLogs("mmr.tasks.recurring", logging.ERROR):
            await run_once(RecurringJob("test", 1, fail))
