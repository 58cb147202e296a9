"""Purges and quarantines of more than one step, as tasks that outlive a crash.

The process that was asked does the work itself and answers when it is done. Meanwhile
it is a task: the tasks API shows and cancels it, and machine 0 goes on with it when
that process is gone. To begin again is to go on: what was done isn't selected any more,
or doesn't change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Generic, TypeVar

import attrs

from mmr.errors import MatrixError, unavailable, unexpected
from mmr.media.audit import AuditLog
from mmr.media.purge import ACTION, Purge, PurgeResult
from mmr.media.quarantine import Quarantine, QuarantineResult, action_name
from mmr.media.selection import Order, Selection
from mmr.storage.tasks import Progress, Task, TaskStore
from mmr.tasks import orders
from mmr.tasks.engine import CANCELLED, HeldTask, TaskEngine, TaskReporter
from mmr.util.shield import shield

R = TypeVar("R")

Report = Callable[[int, int], Awaitable[None]]
"""Told how many media have changed, and how many bytes were freed."""


@attrs.frozen
class Deed(Generic[R]):
    """Purging, or setting or lifting quarantine.

    Attributes:
        action: In the audit log.
        is_large: Whether it is more than a step.
        count: How many media it is about.
        run: Does it; with a report it can be broken off.
    """

    action: str
    is_large: Callable[[Selection], Awaitable[bool]]
    count: Callable[[Selection], Awaitable[int]]
    run: Callable[[Order, Report | None], Awaitable[R]]

    @property
    def task(self) -> str:
        """The name of its tasks."""
        return f"{self.action}_media"


def purging(purge: Purge) -> Deed[PurgeResult]:
    """To purge."""

    async def run(order: Order, report: Report | None) -> PurgeResult:
        async def progress(result: PurgeResult) -> None:
            assert report is not None
            await report(result.media, result.bytes)

        return await purge.run(order, progress if report else None)

    return Deed(ACTION, purge.is_large, purge.count, run)


def quarantining(quarantine: Quarantine, quarantined: bool) -> Deed[QuarantineResult]:
    """To quarantine, or to release."""

    async def run(order: Order, report: Report | None) -> QuarantineResult:
        async def progress(result: QuarantineResult) -> None:
            assert report is not None
            await report(result.num, 0)

        return await quarantine.set(order, quarantined, progress if report else None)

    name = action_name(quarantined)
    return Deed(name, quarantine.is_large, quarantine.count, run)


@attrs.frozen
class Outcome(Generic[R]):
    """What came of an order.

    Attributes:
        task_id: None for what was too small to become a task.
    """

    result: R
    task_id: int | None = None


@attrs.frozen
class _Begun(Generic[R]):
    """A task under way; its result will be in the list."""

    held: HeldTask
    results: list[R]


class Moderation:
    """Does what admins order, with a task for each large order."""

    def __init__(
        self, engine: TaskEngine, audit: AuditLog, purge: Purge, quarantine: Quarantine
    ) -> None:
        self._engine = engine
        self._audit = audit
        self._purging = purging(purge)
        self._quarantining = {
            value: quarantining(quarantine, value) for value in (True, False)
        }

    async def purge(self, order: Order) -> Outcome[PurgeResult]:
        """See `Purge.run`; returns when it is done.

        Raises:
            MatrixError: as there; 409 when somebody cancelled the task; 503 when it was
                interrupted, and goes on later.
        """
        return await self._finish(await self._begin(self._purging, order))

    async def start_purge(self, order: Order) -> Outcome[PurgeResult] | int:
        """The same, but of a large order only the task's id.

        Raises:
            MatrixError: as `Purge.run`.
        """
        begun = await self._begin(self._purging, order)
        return begun if isinstance(begun, Outcome) else begun.held.task.id

    async def quarantine(
        self, order: Order, quarantined: bool
    ) -> Outcome[QuarantineResult]:
        """See `Quarantine.set`; returns when it is done (R84).

        Raises:
            MatrixError: as there, and as `purge`.
        """
        deed = self._quarantining[quarantined]
        return await self._finish(await self._begin(deed, order))

    async def _begin(self, deed: Deed[R], order: Order) -> Outcome[R] | _Begun[R]:
        """Do what is small; make a task of the rest."""
        # What uploaders may do to their own is one media, and writes no audit log.
        is_own = order.reach.user_id is not None
        if is_own or not await deed.is_large(order.selection):
            return Outcome(await deed.run(order, None))
        return await shield(self._begin_task(deed, order))

    async def _begin_task(self, deed: Deed[R], order: Order) -> _Begun[R]:
        entry_id = await self._audit.begin(
            order.actor, deed.action, order.selection.target, order.reason
        )
        order = attrs.evolve(order, entry_id=entry_id)
        results: list[R] = []

        async def work(task: Task, reporter: TaskReporter) -> None:
            results.append(await _perform(deed, order, task, reporter))

        held = await self._engine.hold(
            deed.task, orders.params_of(order), orders.to_memo(order), work
        )
        return _Begun(held, results)

    async def _finish(self, begun: Outcome[R] | _Begun[R]) -> Outcome[R]:
        if isinstance(begun, Outcome):
            return begun
        error = await begun.held.ended
        if not begun.results:
            raise _broken_off(begun.held.task, error)
        return Outcome(begun.results[0], begun.held.task.id)


class ModerationRunner(Generic[R]):
    """Goes on with tasks whose process is gone.

    Args:
        our_servers: Names of the homeservers that are configured now.
    """

    def __init__(
        self,
        deed: Deed[R],
        store: TaskStore,
        our_servers: Callable[[], Collection[str]],
    ) -> None:
        self._deed = deed
        self._store = store
        self._our_servers = our_servers

    async def run(self, task: Task, reporter: TaskReporter) -> None:
        """See `TaskRunner.run`."""
        order = orders.from_memo(task, await self._store.get_memo(task.id))
        order = orders.resumed(order, task, self._our_servers())
        await _perform(self._deed, order, task, reporter)


async def _perform(
    deed: Deed[R], order: Order, task: Task, reporter: TaskReporter
) -> R:
    before = now = attrs.evolve(
        task.progress, total=task.progress.total or await deed.count(order.selection)
    )

    async def report(done: int, freed_bytes: int) -> None:
        nonlocal now
        now = _plus(before, done, freed_bytes)
        await reporter.report(now)

    result = await deed.run(order, report)
    # Some were left as they are; copies came on top.
    await reporter.report(attrs.evolve(now, total=now.done), now=True)
    return result


def _plus(before: Progress, done: int, freed_bytes: int) -> Progress:
    return attrs.evolve(
        before, done=before.done + done, bytes_done=before.bytes_done + freed_bytes
    )


def _broken_off(task: Task, error: str | None) -> MatrixError:
    if error is None:
        return unavailable(f"The server is stopping; task {task.id} goes on with it")
    if error == CANCELLED:
        return MatrixError(
            409, "M_UNKNOWN", f"Task {task.id} was cancelled; what it did stays done"
        )
    return unexpected(f"Task {task.id} failed: {error}")
