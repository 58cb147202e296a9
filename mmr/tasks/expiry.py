"""Expiry as tasks: what it removes, and how far it is, shows in the tasks API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mmr.media.reports import Report
from mmr.storage.tasks import Progress, Task, TaskStore
from mmr.tasks.engine import TaskEngine, TaskReporter

_MAX_UNFINISHED = 1000


class Expiry(Protocol):
    """Removes one kind of thing by its age."""

    async def is_due(self) -> bool:
        """Whether there is something to remove now."""
        ...

    async def count(self) -> int:
        """How much that is."""
        ...

    async def expire(self, report: Report) -> int:
        """Remove it. Tells how many there were."""
        ...


class ExpiryRunner:
    """Does one kind of expiry as a task."""

    def __init__(self, expiry: Expiry) -> None:
        self._expiry = expiry

    async def run(self, task: Task, reporter: TaskReporter) -> None:
        """Remove what is too old by now, also after a restart."""

        before = task.progress
        total = before.total or await self._expiry.count()

        async def report(done: int) -> None:
            done += before.done
            await reporter.report(Progress(done=done, total=max(done, total)))

        done = before.done + await self._expiry.expire(report)
        await reporter.report(Progress(done=done, total=done), now=True)


class ExpirySchedule:
    """Submits a task where there is something to do, at most one of a kind at once."""

    def __init__(
        self, engine: TaskEngine, store: TaskStore, expiries: Mapping[str, Expiry]
    ) -> None:
        self._engine = engine
        self._store = store
        self._expiries = expiries

    async def submit_due(self) -> None:
        """One look at each kind."""
        unfinished = await self._store.get_unfinished(_MAX_UNFINISHED)
        running = {task.name for task in unfinished}
        for name, expiry in self._expiries.items():
            if name not in running and await expiry.is_due():
                await self._engine.submit(name, {})
