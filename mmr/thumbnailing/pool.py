"""The bounded pool that turns sources into thumbnails (design §5).

Requests are grouped by source: while one waits for a worker, others for the same media
join it, and one decode serves all their sizes. A source is in one worker at a time, so
a bomb costs one decode however many ask for it (R34).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads

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
from mmr.util.clock import Clock
from mmr.util.confined.limits import WorkerLimits
from mmr.util.threads import WorkerPool

GATHER_SECONDS = 0.005
"""A client that opens a room asks for several sizes at once, on several connections."""
MAX_TARGETS = 16
"""In one job, so that all results fit into its time and its file."""

_DEFAULTS = RenderOptions()


@attrs.frozen
class _Group:
    """What requests must have in common to share a decode, and a failure."""

    key: str
    declared_type: str
    options: RenderOptions
    describe: bool = False
    blurhash: BlurhashSize | None = None


@attrs.frozen
class _Found:
    info: ImageInfo
    rendered: Rendered | None


@attrs.frozen(eq=False)
class _Asker:
    source: Path
    answer: Deferred[_Found]


# What is wanted: a thumbnail, or (None) only the information.
_Wanted = TargetSize | None


@attrs.define(eq=False)
class _Task:
    """The requests for one source."""

    group: _Group
    askers: dict[_Wanted, list[_Asker]] = attrs.field(factory=dict)
    gathering: IDelayedCall | None = None
    """Set while the task is not to be started yet."""

    @property
    def targets(self) -> tuple[TargetSize, ...]:
        return tuple(wanted for wanted in self.askers if wanted is not None)

    def each_asker(self) -> Iterator[_Asker]:
        return itertools.chain.from_iterable(self.askers.values())

    def add(self, wanted: _Wanted, asker: _Asker) -> None:
        self.askers.setdefault(wanted, []).append(asker)

    def remove(self, wanted: _Wanted, answer: Deferred[_Found]) -> None:
        left = [a for a in self.askers.pop(wanted, []) if a.answer is not answer]
        if left:
            self.askers[wanted] = left

    def drop(self) -> list[_Asker]:
        """Never start this; returns who waits for it."""
        if self.gathering is not None:
            self.gathering.cancel()
            self.gathering = None
        return list(self.each_asker())

    def split(self, targets: int) -> _Task | None:
        """Move the targets past the first so many into a task of their own.

        And animated ones past the first: each takes as long as many stills.
        """
        animated = [target for target in self.targets if target.animated]
        now = [target for target in self.targets if target not in animated[1:]]
        rest = [target for target in self.targets if target not in now[:targets]]
        if not rest:
            return None
        later = _Task(self.group)
        later.askers.update((target, self.askers.pop(target)) for target in rest)
        return later


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
        self._queue: dict[_Group, _Task] = {}
        self._running: dict[_Group, _Task] = {}
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
        group = _Group(key, declared_type, options)
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
        group = _Group(key, declared_type, options, True, blurhash)
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
        group = _Group(key, declared_type, options)
        found = await self._ask(group, target, source)
        assert found.rendered is not None
        return found.info, found.rendered

    async def _ask(self, group: _Group, wanted: _Wanted, source: Path) -> _Found:
        self._accept()
        refusal = self._failures.recall(group)
        if refusal is not None:
            raise refusal_error(refusal)
        task = self._task_for(group, wanted)
        answer: Deferred[_Found] = Deferred(
            lambda left: self._forget(group, wanted, left)
        )
        task.add(wanted, _Asker(source, answer))
        return await answer

    def _task_for(self, group: _Group, wanted: _Wanted) -> _Task:
        running, queued = self._running.get(group), self._queue.get(group)
        if running is not None and wanted in running.askers:
            return running
        if queued is not None and wanted in queued.askers:
            return queued
        if self.waiting >= self._max_waiting:
            raise unavailable("The server is busy (thumbnails). Try again later.")
        if queued is None:
            queued = self._queue[group] = _Task(group)
            queued.gathering = self._clock.call_later(
                GATHER_SECONDS, self._is_gathered, queued
            )
        return queued

    def _is_gathered(self, task: _Task) -> None:
        task.gathering = None
        self._start_tasks()

    def _forget(self, group: _Group, wanted: _Wanted, answer: Deferred[_Found]) -> None:
        """The asker is gone. Work that has begun goes on: it can't be taken back."""
        for tasks in (self._queue, self._running):
            if group in tasks:
                tasks[group].remove(wanted, answer)
        if group in self._queue and not self._queue[group].askers:
            self._queue.pop(group).drop()

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
            done = Deferred.fromCoroutine(self._run(task, self._idle.pop()))
            self._under_way.add(done)
            done.addBoth(self._is_done, done)

    def _is_done(self, result: object, done: Deferred[None]) -> object:
        self._under_way.discard(done)
        return result

    async def _run(self, task: _Task, slot: Desk) -> None:
        group = task.group
        job = Job(
            group.declared_type,
            task.targets,
            group.options,
            group.describe,
            group.blurhash,
        )
        source = next(task.each_asker()).source
        self.jobs_started += 1
        outcome: Outcome | Exception
        try:
            outcome = await self._threads.run(slot.run, source, job)
        except Exception as error:
            outcome = error
        del self._running[group]
        self._idle.append(slot)
        if isinstance(outcome, Outcome):
            self._succeed(task, job, outcome)
        else:
            self._fail(task, outcome)
        self._start_tasks()

    def _succeed(self, task: _Task, job: Job, outcome: Outcome) -> None:
        drawn: dict[_Wanted, Rendered | None] = {None: None}
        drawn.update(zip(job.targets, outcome.rendered, strict=True))
        for wanted, askers in list(task.askers.items()):
            for asker in list(askers):
                if not asker.answer.called:
                    asker.answer.callback(_Found(outcome.info, drawn[wanted]))

    def _fail(self, task: _Task, error: Exception) -> None:
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


def _fail_all(askers: list[_Asker], error: Exception) -> None:
    for asker in askers:
        # Who is told first may cancel what others wait for.
        if not asker.answer.called:
            asker.answer.errback(error)
