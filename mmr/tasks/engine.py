"""Runs background tasks on machine 0, and goes on with them after a restart."""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import attrs

from twisted.internet.defer import CancelledError, Deferred

from mmr.errors import MatrixError
from mmr.logging.context import background
from mmr.storage.tasks import Progress, Task, TaskStore
from mmr.util.clock import Clock
from mmr.util.shield import shield

logger = logging.getLogger(__name__)

CANCELLED = "cancelled"
"""The error of a task that an admin cancelled."""

# What a task may lack for a while, until somebody mends it: room, files, memory.
_PASSING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
)
_REPORT_SECONDS = 2.0
_MAX_LISTED = 1000
# Who works on a held task says so every two seconds. So long a silence is a crash; and
# were it none, two that do the same purge don't disturb each other.
_HELD_MS = 30_000


class TaskFailed(Exception):
    """A task can't be done. The text is for the admin, and names no path."""


class TaskCancelled(Exception):
    """Somebody wants the task to stop."""


class TaskWaits(Exception):
    """There is nothing to do now. The task is tried again, when no other wants its
    place.
    """


class TaskReporter:
    """A task's way to say how far it is, and to learn that it shall stop.

    Args:
        is_held: Others leave the task alone as long as this process reports.
    """

    def __init__(
        self, task: Task, store: TaskStore, clock: Clock, *, is_held: bool = False
    ) -> None:
        self._task = task
        self._store = store
        self._clock = clock
        self._is_held = is_held
        self._reported_at: float | None = None
        self._written: Deferred[None] | None = None

    async def report(self, progress: Progress, *, now: bool = False) -> None:
        """To be called often; it is written every two seconds, or now.

        Raises:
            TaskCancelled: to be let through.
        """
        at = self._clock.monotonic()
        last = self._reported_at
        if not now and last is not None and at - last < _REPORT_SECONDS:
            return
        self._reported_at = at
        now_ms = self._clock.time_ms()
        held_until = now_ms + _HELD_MS if self._is_held else 0
        if not await shield(self._write(progress, now_ms, held_until)):
            raise TaskCancelled

    async def _write(self, progress: Progress, now_ms: int, held_until: int) -> bool:
        self._written = Deferred()
        try:
            return await self._store.report(self._task.id, progress, now_ms, held_until)
        finally:
            self._written.callback(None)

    async def settle(self) -> None:
        """Wait for what was being written when the task was broken off."""
        if self._written is not None:
            await self._written


class TaskRunner(Protocol):
    """Does the tasks of one name."""

    async def run(self, task: Task, reporter: TaskReporter) -> None:
        """Do the work. After a restart it is called again, with the same task.

        Raises:
            TaskFailed: for good.
        """
        ...


Work = Callable[[Task, TaskReporter], Awaitable[None]]
"""See `TaskRunner.run`."""


@attrs.frozen
class HeldTask:
    """A task that this process does, whichever it is.

    Attributes:
        ended: Gives the error when the task has ended (empty: it's done), or None when
            it was interrupted and goes on elsewhere or later.
    """

    task: Task
    ended: Deferred[str | None]


class TaskEngine:
    """Starts tasks, at most so many at once; the rest waits in the database.

    Args:
        runners: By the task's name.
        num_workers: ``tasks.numWorkers``, as it is now.
        is_ours: Whether this process runs tasks (machine 0), as it is now.
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
        is_ours: Callable[[], bool],
        queued: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._runners = runners
        self._num_workers = num_workers
        self._clock = clock
        self._is_ours = is_ours
        self._queued = queued
        self._running: dict[int, Deferred[None]] = {}
        # Those that any process which does tasks may go on with.
        self._shared: set[int] = set()
        self._idle: set[int] = set()
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
        self._check_known(name)
        task = await self._store.create(name, params, self._clock.time_ms())
        await self.added(task)
        return task

    async def added(self, task: Task) -> None:
        """Have a task done that was created with what it works on."""
        await self.wake(task.id)

    async def wake(self, task_id: int) -> None:
        """Have a task done for which there is something to do."""
        self._idle.discard(task_id)
        if self._is_ours():
            await self.look()
        elif self._queued is not None:
            await self._queued(task_id)

    async def hold(
        self, name: str, params: Mapping[str, Any], memo: str, work: Work
    ) -> HeldTask:
        """Do a task here and now. Should this process end, the name's runner goes on.

        Args:
            memo: What the runner needs beyond ``params``: `TaskStore.get_memo`.

        Raises:
            ValueError: when nothing could go on with it.
            MatrixError: 503.
        """
        self._check_known(name)
        now_ms = self._clock.time_ms()
        task = await self._store.create_held(
            name, params, memo, now_ms, now_ms + _HELD_MS
        )
        # A waiter that leaves cancels this Deferred, which no task depends on.
        held = HeldTask(task, Deferred())
        if self._is_stopping:
            await self._let_go(task)
            held.ended.callback(None)
        else:
            self._start(task, work, held.ended.callback, is_held=True)
        return held

    async def look(self) -> None:
        """Start what is waiting, whenever it was created: also what a restart or a
        crash interrupted, however long ago (D66).
        """
        if not self._is_ours() or self._is_stopping:
            return
        unfinished = await self._store.get_unfinished(_MAX_LISTED)
        self._idle.intersection_update(task.id for task in unfinished)
        for task in sorted(unfinished, key=lambda task: task.id in self._idle):
            if len(self._running) >= self._num_workers():
                return
            if task.id not in self._running and not self._is_held(task):
                self._start(task, self._run_by_name)

    async def cancel(self, task: Task) -> None:
        """Have a task stop. What it has done so far stays done."""
        await self._store.cancel(task.id)
        is_waiting = task.id not in self._running and not self._is_held(task)
        if self._is_ours() and is_waiting:
            await self._store.finish(task.id, self._clock.time_ms(), CANCELLED)

    def give_up(self) -> None:
        """Break off what another process may be doing as well by now."""
        for task_id in tuple(self._shared):
            self._running[task_id].cancel()

    async def stop(self) -> None:
        """Break the running tasks off. They stay unfinished, and go on next time."""
        self._is_stopping = True
        running = list(self._running.values())
        for work in running:
            work.cancel()
        for work in running:
            await work

    def _check_known(self, name: str) -> None:
        if name not in self._runners:
            raise ValueError(f"no runner for the task {name!r}")

    def _is_held(self, task: Task) -> bool:
        return task.held_until_ts > self._clock.time_ms()

    def _start(
        self,
        task: Task,
        work: Work,
        ended: Callable[[str | None], object] = lambda _: None,
        *,
        is_held: bool = False,
    ) -> None:
        reporter = TaskReporter(task, self._store, self._clock, is_held=is_held)
        running = Deferred.fromCoroutine(self._run(task, work, reporter, ended))
        if not running.called:
            self._running[task.id] = running
            if not is_held:
                self._shared.add(task.id)

    async def _run(
        self,
        task: Task,
        work: Work,
        reporter: TaskReporter,
        ended: Callable[[str | None], object],
    ) -> None:
        error: str | None = None
        with background(f"task_{task.name}_{task.id}"):
            try:
                error = await self._try(task, work, reporter)
                await self._store.finish(task.id, self._clock.time_ms(), error)
            except TaskWaits:
                self._idle.add(task.id)
            except CancelledError:
                logger.info("Task %d is interrupted; it goes on later", task.id)
                await reporter.settle()
                await self._let_go(task)
            except Exception:
                # Unfinished in the database, which may just be away: another try.
                logger.exception("Task %d could not be ended", task.id)
                error = None
            finally:
                self._running.pop(task.id, None)
                self._shared.discard(task.id)
                ended(error)

    async def _let_go(self, task: Task) -> None:
        """Others needn't wait until it is clear that this process is gone."""
        if not task.held_until_ts:
            return
        try:
            await self._store.release(task.id)
        except MatrixError as error:
            logger.warning("Task %d goes on half a minute later: %s", task.id, error)

    async def _run_by_name(self, task: Task, reporter: TaskReporter) -> None:
        runner = self._runners.get(task.name)
        if runner is None:
            raise TaskFailed(f"unknown task {task.name!r}")
        await runner.run(task, reporter)

    async def _try(self, task: Task, work: Work, reporter: TaskReporter) -> str:
        """Do the task. Gives the error, if there is one to be told."""
        found = await self._store.get(task.id)
        if found is None or found.is_finished:
            # It ended while the look that found it waited for its answer.
            return ""
        level = logging.DEBUG if task.id in self._idle else logging.INFO
        self._idle.discard(task.id)
        logger.log(level, "Task %d (%s) begins", task.id, task.name)
        try:
            await reporter.report(task.progress, now=True)
            await work(task, reporter)
        except TaskCancelled:
            return CANCELLED
        except TaskFailed as error:
            logger.error("Task %d (%s) failed: %s", task.id, task.name, error)
            return str(error)
        except MatrixError as error:
            if error.status == 503:
                raise
            logger.exception("Task %d (%s) failed", task.id, task.name)
            return error.message
        except (CancelledError, TaskWaits):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _PASSING:
                logger.warning("Task %d (%s) waits: %s", task.id, task.name, error)
                raise TaskWaits from error
            logger.exception("Task %d (%s) failed", task.id, task.name)
            return f"{type(error).__name__}; the log has more"
        logger.info("Task %d (%s) is done", task.id, task.name)
        return ""
