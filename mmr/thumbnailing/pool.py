"""The bounded pool that turns sources into thumbnails (design §5).

Requests are grouped by source: while one waits for a worker, others for the same media
join it, and one decode serves all their sizes. A source is in one worker at a time, so
a bomb costs one decode however many ask for it (R34).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorFromThreads

from mmr.errors import unavailable
from mmr.thumbnailing.desk import Desk
from mmr.thumbnailing.failures import FailureMemory
from mmr.thumbnailing.model import (
    BlurhashSize,
    ImageInfo,
    Refused,
    Rendered,
    RenderOptions,
    refusal_error,
)
from mmr.thumbnailing.process import WORKER_COMMAND, Outcome
from mmr.thumbnailing.protocol import Job
from mmr.thumbnailing.sizes import TargetSize
from mmr.thumbnailing.waiting import Asker, Found, Group, Task, Wanted
from mmr.util.clock import Clock
from mmr.util.confined.limits import WorkerLimits
from mmr.util.threads import WorkerPool

GATHER_SECONDS = 0.005
"""A client that opens a room asks for several sizes at once, on several connections."""
MAX_TARGETS = 16
"""In one job, so that all results fit into its time and its file."""
LINGER_SECONDS = 0.5
"""A job that nobody waits for any more may go on for so long: many end by then, and a
worker that is killed has to be replaced (R66)."""

_DEFAULTS = RenderOptions()


class ThumbnailPool:
    """Renders thumbnails in worker processes.

    Args:
        workers: Processes at most; each is started when it is first needed.
        max_waiting: Distinct renders that may wait; one more is refused with 503.
        limits: What one worker may use.
        clock: Times the failures that are remembered.
        reactor: Where results are delivered.
        temp_dir: For the workers' empty folders and unnamed result files.
        command: The worker program.
    """

    def __init__(
        self,
        workers: int,
        max_waiting: int,
        limits: WorkerLimits,
        clock: Clock,
        reactor: IReactorFromThreads,
        temp_dir: Path,
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        self._max_waiting = max_waiting
        self._clock = clock
        # Only an idle slot gets a job; what may wait here is the end of the workers.
        self._threads = WorkerPool("thumbnails", workers, workers, reactor)
        self._slots = [Desk(command, limits, temp_dir) for _ in range(workers)]
        self._idle = list(self._slots)
        self._queue: dict[Group, Task] = {}
        self._running: dict[Group, Task] = {}
        self._under_way: set[Deferred[None]] = set()
        self._failures = FailureMemory(clock)
        self._is_started = False
        self._is_stopped = False
        self.jobs_started = 0

    @property
    def waiting(self) -> int:
        """Distinct renders that have no worker yet."""
        return sum(len(task.askers) for task in self._queue.values())

    @property
    def running(self) -> int:
        """Workers that are busy."""
        return len(self._running)

    def start(self) -> None:
        """Accept work. The first request does it too."""
        if not self._is_started:
            self._is_started = True
            self._threads.start()

    def _accept(self) -> None:
        if self._is_stopped:
            raise unavailable("The server is shutting down")
        self.start()

    async def describe(self) -> list[str]:
        """Start a worker ahead of the first request; returns how it is confined (R35).

        Empty while all workers are busy.

        Raises:
            MatrixError: 503 when no worker can be started.
        """
        self._accept()
        if not self._idle:
            return []
        slot = self._idle.pop()
        try:
            return await self._threads.run(slot.describe)
        finally:
            self._idle.append(slot)
            self._start_tasks()

    async def probe(
        self,
        source: Path,
        declared_type: str,
        options: RenderOptions = _DEFAULTS,
        *,
        key: str,
    ) -> ImageInfo:
        """Look at a source without decoding it; limits and errors as for `render`."""
        group = Group(key, declared_type, options)
        return (await self._ask(group, None, source)).info

    async def look_inside(
        self,
        source: Path,
        declared_type: str,
        options: RenderOptions = _DEFAULTS,
        *,
        key: str,
        blurhash: BlurhashSize | None = None,
    ) -> ImageInfo:
        """All that can be found out, if need be by decoding; else as `probe`.

        Args:
            source: As for `render`.
            declared_type: The same.
            options: The same.
            key: The same.
            blurhash: Make one like this, too.
        """
        group = Group(key, declared_type, options, True, blurhash)
        return (await self._ask(group, None, source)).info

    async def render(
        self,
        source: Path,
        declared_type: str,
        target: TargetSize,
        options: RenderOptions = _DEFAULTS,
        *,
        key: str,
    ) -> Rendered:
        """Make one thumbnail. Cancelling drops the work if nobody else wants it.

        A source that is smaller than the target is drawn at its own size: whether the
        original is a better answer, `probe` and `fits` tell.

        Args:
            source: The original; must stay until the answer.
            declared_type: Its label, which must agree with its bytes (R28).
            target: The box and the method.
            options: The operator's settings.
            key: Names the content: its SHA-256.

        Raises:
            MatrixError: 400 `CannotThumbnail`, 413 for too many pixels or bytes, 503
                when too much work waits already.
        """
        found = await self.probe_and_render(
            source, declared_type, target, options, key=key
        )
        return found[1]

    async def probe_and_render(
        self,
        source: Path,
        declared_type: str,
        target: TargetSize,
        options: RenderOptions = _DEFAULTS,
        *,
        key: str,
    ) -> tuple[ImageInfo, Rendered]:
        """As `probe` and `render`, in one job."""
        group = Group(key, declared_type, options)
        found = await self._ask(group, target, source)
        assert found.rendered is not None
        return found.info, found.rendered

    async def _ask(self, group: Group, wanted: Wanted, source: Path) -> Found:
        self._accept()
        refusal = self._failures.recall(group)
        if refusal is not None:
            raise refusal_error(refusal)
        task = self._task_for(group, wanted)
        answer: Deferred[Found] = Deferred(
            lambda left: self._forget(group, wanted, left)
        )
        asker = Asker(source, answer)
        task.add(wanted, asker)
        try:
            return await answer
        except CancelledError:
            running = self._running.get(group)
            if running is not None and running.reading is asker:
                # A worker is just opening or reading the source: it has to stay.
                await running.over()
            raise

    def _task_for(self, group: Group, wanted: Wanted) -> Task:
        running, queued = self._running.get(group), self._queue.get(group)
        if running is not None and running.takes(wanted):
            return running
        if queued is not None and wanted in queued.askers:
            return queued
        if self.waiting >= self._max_waiting:
            raise unavailable("The server is busy (thumbnails). Try again later.")
        if queued is None:
            queued = self._queue[group] = Task(group)
            queued.gathering = self._clock.call_later(
                GATHER_SECONDS, self._is_gathered, queued
            )
        return queued

    def _is_gathered(self, task: Task) -> None:
        task.gathering = None
        self._start_tasks()

    def _forget(self, group: Group, wanted: Wanted, answer: Deferred[Found]) -> None:
        """The asker is gone."""
        queued, running = self._queue.get(group), self._running.get(group)
        if queued is not None:
            queued.leave(wanted, answer)
            if not queued.is_wanted:
                self._queue.pop(group).drop()
        if running is not None:
            running.leave(wanted, answer)
            if not running.is_wanted and running.lingering is None:
                running.lingering = self._clock.call_later(
                    LINGER_SECONDS, self._give_up, running
                )

    def _give_up(self, task: Task) -> None:
        """End a job, unless somebody wants it again."""
        task.lingering = None
        if not task.is_wanted and task.desk is not None:
            task.is_given_up = True
            task.desk.abandon()

    def _start_tasks(self) -> None:
        for group, task in list(self._queue.items()):
            if not self._idle or self._is_stopped:
                return
            if task.gathering is not None or group in self._running:
                continue
            del self._queue[group]
            rest = task.split(MAX_TARGETS)
            if rest is not None:
                self._queue[group] = rest
            self._running[group] = task
            task.desk = self._idle.pop()
            task.reading = next(task.each_asker())
            done = Deferred.fromCoroutine(self._run(task, task.desk, task.reading))
            self._under_way.add(done)
            done.addBoth(self._is_done, done)

    def _is_done(self, result: object, done: Deferred[None]) -> object:
        self._under_way.discard(done)
        return result

    async def _run(self, task: Task, desk: Desk, asker: Asker) -> None:
        group = task.group
        job = Job(
            group.declared_type,
            task.targets,
            group.options,
            group.describe,
            group.blurhash,
        )
        self.jobs_started += 1
        outcome: Outcome | Exception
        try:
            outcome = await self._threads.run(desk.run, asker.source, job)
        except Exception as error:
            outcome = error
        del self._running[group]
        self._idle.append(desk)
        if isinstance(outcome, Outcome):
            self._succeed(task, job, outcome)
        else:
            self._fail(task, outcome)
        task.ended()
        self._start_tasks()

    def _succeed(self, task: Task, job: Job, outcome: Outcome) -> None:
        drawn: dict[Wanted, Rendered | None] = {None: None}
        drawn.update(zip(job.targets, outcome.rendered, strict=True))
        for wanted, askers in list(task.askers.items()):
            for asker in list(askers):
                if not asker.answer.called:
                    asker.answer.callback(Found(outcome.info, drawn[wanted]))

    def _fail(self, task: Task, error: Exception) -> None:
        askers = list(task.each_asker())
        if not isinstance(error, Refused):
            _fail_all(askers, error)
            return
        self._failures.remember(task.group, error.reason)
        # Other sizes of the same source would fail in the same way.
        queued = self._queue.pop(task.group, None)
        _fail_all(
            askers + (queued.drop() if queued else []), refusal_error(error.reason)
        )

    async def stop(self) -> None:
        """Refuse what waits, end what runs, and wait until the workers are gone."""
        if self._is_stopped:
            return
        self._is_stopped = True
        queued, self._queue = self._queue, {}
        for task in queued.values():
            _fail_all(task.drop(), unavailable("The server is shutting down"))
        for slot in self._slots:
            slot.interrupt()
        await DeferredList(list(self._under_way))
        if self._is_started:
            for slot in self._slots:
                await self._threads.run(slot.close)
            self._threads.stop()


def _fail_all(askers: list[Asker], error: Exception) -> None:
    for asker in askers:
        # Who is told first may cancel what others wait for.
        if not asker.answer.called:
            asker.answer.errback(error)
