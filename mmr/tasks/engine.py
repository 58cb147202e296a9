"""Runs background tasks on machine 0, and goes on with them after a restart."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred

from mmr.errors import MatrixError
from mmr.logging.context import background
from mmr.storage.tasks import Progress, Task, TaskStore
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

_REPORT_SECONDS = 2.0
_MAX_LISTED = 1000


class TaskFailed(Exception):
    """A task can't be done. The text is for the admin, and names no path."""


class _Stopped(Exception):
    """Somebody cancelled the task."""


class TaskReporter:
    """A task's way to say how far it is, and to learn that it shall stop."""

    def __init__(self, task: Task, store: TaskStore, clock: Clock) -> None:
        self._task = task
        self._store = store
        self._clock = clock
        self._reported_at: float | None = None

    async def report(self, progress: Progress, *, now: bool = False) -> None:
        """To be called often; it is written every two seconds, or now."""
        at = self._clock.monotonic()
        last = self._reported_at
        if not now and last is not None and at - last < _REPORT_SECONDS:
            return
        self._reported_at = at
        if not await self._store.report(self._task.id, progress, self._clock.time_ms()):
            raise _Stopped


class TaskRunner(Protocol):
    """Does the tasks of one name."""

    async def run(self, task: Task, reporter: TaskReporter) -> None:
        """Do the work. After a restart it is called again, with the same task.

        Raises:
            TaskFailed: for good.
        """
        ...


class TaskEngine:
    """Starts tasks, at most so many at once; the rest waits in the database.

    Args:
        runners: By the task's name.
        num_workers: ``tasks.numWorkers``, as it is now.
        is_ours: Whether this process runs tasks (machine 0).
        queued: Tells the process that runs tasks that there is one more. Without it
            that process finds the task when it looks next.
    """

    def __init__(
        self,
        *,
        store: TaskStore,
        runners: Mapping[str, TaskRunner],
        num_workers: Callable[[], int],
        clock: Clock,
        is_ours: bool,
        queued: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._runners = runners
        self._num_workers = num_workers
        self._clock = clock
        self._is_ours = is_ours
        self._queued = queued
        self._running: dict[int, Deferred[None]] = {}
        self._is_stopping = False

    @property
    def running(self) -> int:
        """Tasks that run in this process."""
        return len(self._running)

    async def submit(self, name: str, params: Mapping[str, Any]) -> Task:
        """Have a task done.

        Raises:
            ValueError: when nothing can do it.
        """
        if name not in self._runners:
            raise ValueError(f"no runner for the task {name!r}")
        task = await self._store.create(name, params, self._clock.time_ms())
        if self._is_ours:
            await self.look()
        elif self._queued is not None:
            await self._queued(task.id)
        return task

    async def look(self) -> None:
        """Start what is waiting, whenever it was created: also what a restart or a
        crash interrupted, however long ago (D66).
        """
        if not self._is_ours or self._is_stopping:
            return
        for task in await self._store.get_unfinished(_MAX_LISTED):
            if len(self._running) >= self._num_workers():
                return
            if task.id not in self._running:
                self._start(task)

    async def cancel(self, task: Task) -> None:
        """Have a task stop. What it has done so far stays done."""
        await self._store.cancel(task.id)
        if self._is_ours and task.id not in self._running:
            await self._store.finish(task.id, self._clock.time_ms(), "cancelled")

    async def stop(self) -> None:
        """Break the running tasks off. They stay unfinished, and go on next time."""
        self._is_stopping = True
        running = list(self._running.values())
        for work in running:
            work.cancel()
        for work in running:
            await work

    def _start(self, task: Task) -> None:
        work = Deferred.fromCoroutine(self._run(task))
        if not work.called:
            self._running[task.id] = work

    async def _run(self, task: Task) -> None:
        with background(f"task_{task.name}_{task.id}"):
            try:
                error = await self._try(task)
                await self._store.finish(task.id, self._clock.time_ms(), error)
            except CancelledError:
                logger.info("Task %d is interrupted; it goes on later", task.id)
            except Exception:
                # Unfinished in the database, which may just be away: another try.
                logger.exception("Task %d could not be ended", task.id)
            finally:
                self._running.pop(task.id, None)

    async def _try(self, task: Task) -> str:
        """Do the task. Gives the error, if there is one to be told."""
        runner = self._runners.get(task.name)
        if runner is None:
            logger.error("Task %d: nothing here can do %r", task.id, task.name)
            return f"unknown task {task.name!r}"
        reporter = TaskReporter(task, self._store, self._clock)
        logger.info("Task %d (%s) begins", task.id, task.name)
        try:
            await reporter.report(task.progress, now=True)
            await runner.run(task, reporter)
        except _Stopped:
            return "cancelled"
        except TaskFailed as error:
            logger.error("Task %d (%s) failed: %s", task.id, task.name, error)
            return str(error)
        except MatrixError as error:
            if error.status == 503:
                raise
            logger.exception("Task %d (%s) failed", task.id, task.name)
            return error.message
        except CancelledError:
            raise
        except Exception as error:
            logger.exception("Task %d (%s) failed", task.id, task.name)
            return f"{type(error).__name__}; the log has more"
        logger.info("Task %d (%s) is done", task.id, task.name)
        return ""
