"""Bounded thread pools."""

from __future__ import annotations

import threading
from contextvars import ContextVar

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mmr.errors import MatrixError
from mmr.util.threads import WorkerPool

NAME: ContextVar[str] = ContextVar("name", default="nobody")


class WorkerPoolTest(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.pool = WorkerPool("test", 2, 1, reactor)  # type: ignore[arg-type]
        self.pool.start()
        self.addCleanup(lambda: deferToThread(self.pool.stop))
        self.gate = threading.Event()
        self.addCleanup(self.gate.set)

    def wait_at_gate(self) -> Deferred[bool]:
        return Deferred.fromCoroutine(self.pool.run(self.gate.wait, 20))

    async def test_it_runs_elsewhere_and_gives_result_or_error(self) -> None:
        ident = await self.pool.run(threading.get_ident)
        self.assertNotEqual(ident, threading.get_ident())
        with self.assertRaises(ValueError):
            await self.pool.run(int, "x")
        self.assertEqual(self.pool.pending, 0)

    async def test_more_than_may_wait_is_refused_with_503(self) -> None:
        """R69."""
        jobs = [self.wait_at_gate() for _ in range(3)]
        self.assertEqual((self.pool.pending, self.pool.waiting), (3, 1))
        with self.assertRaises(MatrixError) as caught:
            await self.pool.run(int)
        self.assertEqual(caught.exception.status, 503)
        self.gate.set()
        self.assertEqual(await gatherResults(jobs), [True] * 3)
        self.assertEqual(await self.pool.run(int), 0)

    async def test_who_leaves_holds_their_place_until_the_job_ends(self) -> None:
        jobs = [self.wait_at_gate() for _ in range(3)]
        jobs[0].cancel()
        with self.assertRaises(CancelledError):
            await jobs[0]
        self.assertEqual(self.pool.pending, 3)
        self.gate.set()
        await gatherResults(jobs[1:])
        while self.pool.pending:
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]

    async def test_the_callers_context_goes_along(self) -> None:
        NAME.set("alice")
        self.assertEqual(await self.pool.run(NAME.get), "alice")
