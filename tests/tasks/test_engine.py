"""The task engine: what runs, what goes on after a restart, what fails loudly."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeReactor

from mmr.errors import unavailable
from mmr.storage import Database, tasks
from mmr.storage.tasks import Progress, Task, TaskStore
from mmr.tasks.engine import TaskEngine, TaskFailed, TaskReporter, TaskWaits
from mmr.util.clock import Clock
from mmr.util.shield import shield

from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase


class Worker:
    """A runner that waits until it is told how to end."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ends: dict[int, Deferred[None]] = {}

    async def run(self, task: Task, reporter: TaskReporter) -> None:
        self.begun.append(task.id)
        self.ends[task.id] = Deferred()
        await self.ends[task.id]
        await reporter.report(Progress(done=3, total=4), now=True)


class EngineTests(StorageTestCase):
    async def begin(self) -> None:
        self.db: Database = await self.open()
        self.store = TaskStore(self.db)
        self.worker = Worker()
        self.reactor = FakeReactor()
        self.reactor.advance(1000)

    def engine(self, workers: int = 5, is_ours: bool = True, **more: Any) -> TaskEngine:
        settings: dict[str, Any] = {"runners": {"work": self.worker}}
        return TaskEngine(
            store=self.store,
            num_workers=lambda: workers,
            clock=Clock(self.reactor),
            is_ours=lambda: is_ours,
            **{**settings, **more},
        )

    async def until_idle(self, engine: TaskEngine) -> None:
        """Wait for what runs, through the database's threads."""
        while engine.running:
            await self.db.ping()

    async def until_begun(self, count: int) -> None:
        while len(self.worker.begun) < count:
            await self.db.ping()

    async def state(self, task: Task) -> tuple[bool, str]:
        found = await self.stored(task)
        return found.is_finished, found.error

    async def test_a_task_runs_to_its_end(self) -> None:
        await self.begin()
        engine = self.engine()
        task = await engine.submit("work", {"key": "välue"})
        await self.until_begun(1)
        self.assertEqual(await self.state(task), (False, ""))
        self.worker.ends[task.id].callback(None)
        await self.until_idle(engine)
        found = await self.store.get(task.id)
        assert found is not None
        self.assertEqual((found.end_ts, found.error), (1_000_000, ""))
        self.assertEqual(found.params, {"key": "välue"})
        self.assertEqual(found.progress, Progress(done=3, total=4))

    async def test_at_most_so_many_run_and_the_rest_waits(self) -> None:
        await self.begin()
        engine = self.engine(workers=2)
        tasks = [await engine.submit("work", {}) for _ in range(3)]
        await self.until_begun(2)
        self.assertEqual(engine.running, 2)
        self.worker.ends[tasks[0].id].callback(None)
        while engine.running > 1:
            await self.db.ping()
        await engine.look()
        await self.until_begun(3)
        await engine.stop()

    async def test_an_interrupted_task_goes_on_after_a_restart(self) -> None:
        """However old it is (D66)."""
        await self.begin()
        first = self.engine()
        task = await first.submit("work", {})
        await self.until_begun(1)
        await first.stop()
        self.assertEqual(await self.state(task), (False, ""))
        self.reactor.advance(30 * 86400)
        second = self.engine()
        await second.look()
        await self.until_begun(2)
        self.worker.ends[task.id].callback(None)
        await self.until_idle(second)
        self.assertEqual(await self.state(task), (True, ""))

    async def test_a_look_that_is_late_begins_nothing_again(self) -> None:
        """What ended while the list of the unfinished was on its way."""
        await self.begin()
        engine = self.engine()
        task = await engine.submit("work", {})
        await self.until_begun(1)
        answer: Deferred[None] = Deferred()
        get_unfinished = self.store.get_unfinished

        async def late(limit: int) -> list[Task]:
            found = await get_unfinished(limit)
            await answer
            return found

        self.patch(self.store, "get_unfinished", late)
        look = Deferred.fromCoroutine(engine.look())
        await self.db.ping()
        self.worker.ends[task.id].callback(None)
        await self.until_idle(engine)
        answer.callback(None)
        await look
        await self.until_idle(engine)
        self.assertEqual(self.worker.begun, [task.id])

    async def test_who_lost_the_number_leaves_shared_tasks_to_the_next(self) -> None:
        """Those that it does for a waiting admin go on."""
        await self.begin()
        engine = self.engine()
        shared = await engine.submit("work", {})
        held = (await engine.hold("work", {}, "", self.worker.run)).task
        await self.until_begun(2)
        engine.give_up()
        while engine.running > 1:
            await self.db.ping()
        self.assertEqual(await self.state(shared), (False, ""))
        self.worker.ends[held.id].callback(None)
        await self.until_idle(engine)
        self.assertEqual(await self.state(held), (True, ""))

    async def test_a_full_disk_is_waited_for(self) -> None:
        """R97: what a task lacks for the moment doesn't make it a failed one."""
        await self.begin()
        engine = self.engine()
        task = await engine.submit("work", {})
        await self.until_begun(1)
        self.worker.ends[task.id].errback(OSError(errno.ENOSPC, "no space left"))
        await self.until_idle(engine)
        self.assertEqual(await self.state(task), (False, ""))
        await engine.look()
        await self.until_begun(2)
        self.worker.ends[task.id].callback(None)
        await self.until_idle(engine)
        self.assertEqual(await self.state(task), (True, ""))

    async def test_looking_twice_starts_nothing_twice(self) -> None:
        await self.begin()
        engine = self.engine()
        await engine.submit("work", {})
        await engine.look()
        await engine.look()
        await self.until_begun(1)
        self.assertEqual(len(self.worker.begun), 1)
        await engine.stop()

    async def test_a_task_with_nothing_to_do_leaves_its_place_to_others(self) -> None:
        await self.begin()
        waited: list[int] = []

        class Waiting:
            async def run(self, task: Task, reporter: TaskReporter) -> None:
                waited.append(task.id)
                raise TaskWaits

        engine = self.engine(1, runners={"work": self.worker, "wait": Waiting()})
        idle = await engine.submit("wait", {})
        await self.until_idle(engine)
        self.assertEqual(await self.state(idle), (False, ""))
        # It is older, and takes turns behind the others all the same.
        busy = await engine.submit("work", {})
        await self.until_begun(1)
        self.assertEqual(waited, [idle.id])
        self.worker.ends[busy.id].callback(None)
        await self.until_idle(engine)
        await engine.look()
        await self.until_idle(engine)
        self.assertEqual(waited, [idle.id] * 2)
        await engine.wake(idle.id)
        await self.until_idle(engine)
        self.assertEqual(waited, [idle.id] * 3)
        await engine.cancel(idle)
        self.assertEqual(await self.state(idle), (True, "cancelled"))

    async def test_a_task_that_nothing_can_do_fails_loudly(self) -> None:
        await self.begin()
        task = await self.store.create("export_data", {}, 1)
        engine = self.engine()
        await engine.look()
        await self.until_idle(engine)
        self.assertEqual(await self.state(task), (True, "unknown task 'export_data'"))
        with self.assertRaises(ValueError):
            await engine.submit("export_data", {})

    async def test_failures_are_told_without_inner_details(self) -> None:
        await self.begin()
        engine = self.engine()
        for failure, error in (
            (TaskFailed("no such place"), "no such place"),
            (OSError("/secret/path"), "OSError; the log has more"),
        ):
            task = await engine.submit("work", {})
            await self.until_begun(task.id)
            self.worker.ends[task.id].errback(failure)
            await self.until_idle(engine)
            self.assertEqual(await self.state(task), (True, error))

    async def test_a_database_that_is_away_ends_no_task(self) -> None:
        await self.begin()
        engine = self.engine()
        task = await engine.submit("work", {})
        await self.until_begun(1)
        self.worker.ends[task.id].errback(unavailable("The database is away."))
        await self.until_idle(engine)
        self.assertEqual(await self.state(task), (False, ""))
        await engine.look()
        await self.until_begun(2)
        await engine.stop()

    async def test_a_cancelled_task_stops_at_its_next_report(self) -> None:
        await self.begin()
        engine = self.engine()
        task = await engine.submit("work", {})
        await self.until_begun(1)
        await engine.cancel(task)
        self.worker.ends[task.id].callback(None)
        await self.until_idle(engine)
        self.assertEqual(await self.state(task), (True, "cancelled"))

    async def test_a_waiting_task_is_cancelled_at_once(self) -> None:
        await self.begin()
        task = await self.store.create("work", {}, 1)
        await self.engine().cancel(task)
        self.assertEqual(await self.state(task), (True, "cancelled"))

    async def test_finished_tasks_are_kept_in_bounded_number(self) -> None:
        self.patch(tasks, "MAX_FINISHED", 3)
        await self.begin()
        unfinished = await self.store.create("work", {}, 1)
        for _ in range(5):
            task = await self.store.create("work", {}, 1)
            await self.store.report(task.id, Progress(), 1)
            await self.store.finish(task.id, 1)
        left = [task.id for task in await self.store.get_all(10)]
        self.assertEqual(left, [unfinished.id, task.id - 2, task.id - 1, task.id])
        rows = await self.db.fetch_all("t", "SELECT task_id FROM mmr_task_progress")
        self.assertEqual(sorted(row[0] for row in rows), left[1:])

    async def test_another_process_leaves_the_work_to_machine_0(self) -> None:
        await self.begin()
        told: list[int] = []

        async def queued(task_id: int) -> None:
            told.append(task_id)

        other = self.engine(is_ours=False, queued=queued)
        task = await other.submit("work", {})
        await other.look()
        self.assertEqual((told, self.worker.begun), ([task.id], []))
        ours = self.engine()
        await ours.look()
        await self.until_begun(1)
        # Cancelling works from there as well.
        await other.cancel(task)
        self.worker.ends[task.id].callback(None)
        await self.until_idle(ours)
        self.assertEqual(await self.state(task), (True, "cancelled"))

    async def test_a_held_task_is_taken_over_only_after_a_silence(self) -> None:
        await self.begin()
        other = self.engine(is_ours=False)
        is_over: Deferred[None] = Deferred()

        async def work(task: Task, reporter: TaskReporter) -> None:
            await is_over

        held = await other.hold("work", {}, "memo", work)
        self.assertEqual(await self.store.get_memo(held.task.id), "memo")
        ours = self.engine()
        await ours.look()
        self.reactor.advance(29)
        await ours.look()
        self.assertEqual(self.worker.begun, [])
        self.reactor.advance(2)
        await ours.look()
        await self.until_begun(1)
        await ours.stop()
        is_over.callback(None)
        self.assertEqual(await held.ended, "")
        self.assertEqual(await self.state(held.task), (True, ""))
        self.assertEqual(await self.store.get_memo(held.task.id), "")

    async def test_who_stops_lets_go_of_what_it_held(self) -> None:
        await self.begin()
        other = self.engine(is_ours=False)

        async def work(task: Task, reporter: TaskReporter) -> None:
            await Deferred()

        held = await other.hold("work", {}, "", work)
        while not (await self.stored(held.task)).held_until_ts:
            await self.db.ping()
        await other.stop()
        self.assertIsNone(await held.ended)
        late = await other.hold("work", {}, "", work)
        self.assertIsNone(await late.ended)
        ours = self.engine()
        await ours.look()
        await self.until_begun(2)
        await ours.stop()

    async def test_who_stops_lets_go_only_after_the_last_report(self) -> None:
        """It would be held again, by a process that is gone."""
        await self.begin()
        other = self.engine(is_ours=False)
        report, release = self.store.report, self.store.release
        reported, order = Deferred[None](), list[str]()

        async def late(*args: Any) -> bool:
            await reported
            order.append("report")
            return await report(*args)

        async def slow(*args: Any) -> bool:
            # A database's thread goes on with what nobody waits for.
            order.append("begin")
            return await shield(late(*args))

        async def noted_release(task_id: int) -> None:
            order.append("release")
            await release(task_id)

        self.patch(self.store, "report", slow)
        self.patch(self.store, "release", noted_release)
        await other.hold("work", {}, "", self.worker.run)
        while not order:
            await self.db.ping()
        stopping = Deferred.fromCoroutine(other.stop())
        reported.callback(None)
        await stopping
        self.assertEqual(order, ["begin", "report", "release"])

    async def test_only_what_others_could_go_on_with_is_held(self) -> None:
        await self.begin()

        async def work(task: Task, reporter: TaskReporter) -> None:
            raise AssertionError

        with self.assertRaises(ValueError):
            await self.engine().hold("unknown", {}, "", work)
        self.assertEqual(await self.store.get_all(10), [])

    async def test_a_held_task_is_cancelled_by_whoever_does_it(self) -> None:
        await self.begin()
        other, ours = self.engine(is_ours=False), self.engine()
        goes_on: Deferred[None] = Deferred()

        async def work(task: Task, reporter: TaskReporter) -> None:
            await goes_on
            await reporter.report(Progress(), now=True)

        held = await other.hold("work", {}, "", work)
        await ours.cancel(held.task)
        self.assertEqual(await self.state(held.task), (False, ""))
        goes_on.callback(None)
        self.assertEqual(await held.ended, "cancelled")
        self.assertEqual(await self.state(held.task), (True, "cancelled"))

    async def stored(self, task: Task) -> Task:
        found = await self.store.get(task.id)
        assert found is not None
        return found

    async def test_lists(self) -> None:
        await self.begin()
        tasks = [await self.store.create("work", {}, number) for number in range(3)]
        await self.store.finish(tasks[0].id, 5)
        self.assertEqual([t.id for t in await self.store.get_all(2)], [2, 3])
        unfinished = await self.store.get_unfinished(10)
        self.assertEqual([t.id for t in unfinished], [2, 3])


class EngineOnSqliteTests(EngineTests, OnSqlite):
    __test__ = True


class EngineOnPostgresTests(EngineTests, OnPostgres):
    __test__ = True
