"""Work that comes back: it never overlaps itself and never dies of one error."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

import attrs

from twisted.internet.defer import CancelledError, Deferred

from mmr.logging.context import background
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)


@attrs.frozen(slots=True)
class RecurringJob:
    """A job and its rhythm.

    Attributes:
        name: As in log lines.
        interval_s: Pause between the end of one run and the start of the next, give
            or take a tenth, so that processes don't march in step.
        run: One run. It may be called again only after it has ended.
    """

    name: str
    interval_s: float
    run: Callable[[], Awaitable[object]]


class RecurringJobs:
    """Runs each job in a loop of its own until `stop`."""

    def __init__(self, jobs: list[RecurringJob], clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock
        self._loops: list[Deferred[None]] = []

    def start(self) -> None:
        """Start the loops. The first runs come after one interval."""
        self._loops = [Deferred.fromCoroutine(self._loop(job)) for job in self._jobs]

    async def stop(self) -> None:
        """End the loops; a run that is under way is cancelled."""
        loops, self._loops = self._loops, []
        for loop in loops:
            loop.cancel()
        for loop in loops:
            await loop

    async def _loop(self, job: RecurringJob) -> None:
        try:
            while True:
                pause = job.interval_s * random.uniform(0.9, 1.1)
                await self._clock.sleep(pause)
                await run_once(job)
        except CancelledError:
            return


async def run_once(job: RecurringJob) -> None:
    """One run of a job; its failure is logged and goes no further."""
    with background(job.name):
        try:
            await job.run()
        except CancelledError:
            raise
        except Exception:
            logger.exception("The recurring job %s failed; it will run again", job.name)
