"""Remote media, thumbnails and previews expire as tasks (R100)."""

from __future__ import annotations

from typing import Any, ClassVar

from mmr.media import patience, preview_expiry
from mmr.storage.previews import PreviewKey, PreviewRecord, bucket_of
from mmr.storage.tasks import Progress, TaskStore
from mmr.tasks import engine

from tests.harness import HOST, png
from tests.rest.admin.case import AdminCase

_DAY_MS = 24 * 3600 * 1000


class ExpiryTests(AdminCase):
    config: ClassVar[dict[str, Any]] = {
        "downloads": {"expireAfterDays": 30},
        "thumbnails": {"expireAfterDays": 60},
        "urlPreviews": {"expireAfterDays": 10},
    }

    async def setUp(self) -> None:
        await super().setUp()
        self.local, self.remote = (
            await self.upload(png()),
            await self.upload(png(color="blue")),
        )
        await self.thumbnail(self.local, "width=32&height=32&method=crop")
        await self.insert_remote(self.remote)

    def later(self, days: int) -> None:
        """Let time pass, for the wall clock."""
        then = self.server.clock.time_ms() + days * _DAY_MS
        self.patch(self.server.clock, "time_ms", lambda: then)

    async def run_tasks(self) -> list[dict[str, Any]]:
        await self.server.expiry_schedule.submit_due()
        await self.eventually(lambda: self.server.task_engine.running == 0)
        tasks: list[dict[str, Any]] = (await self.read("tasks/all")).json
        return tasks

    async def test_each_kind_is_a_task_with_progress_when_it_is_due(self) -> None:
        self.assertEqual(await self.run_tasks(), [])
        self.later(31)
        [task] = await self.run_tasks()
        self.assertEqual(task["task_name"], "recurring_purge_remote_media")
        self.assertEqual((task["is_finished"], task["error_message"]), (True, ""))
        self.assertEqual(task["progress"]["done"], 1)
        self.later(61)
        _, task = await self.run_tasks()
        self.assertEqual(task["task_name"], "recurring_purge_thumbnails")
        self.assertEqual(await self.count("thumbnails"), 0)
        self.assertEqual(len(await self.run_tasks()), 2)
        self.assertEqual((await self.download(self.local)).status, 200)
        await self.check_consistent()

    async def test_previews_are_the_third_kind(self) -> None:
        self.patch(preview_expiry, "_PLAIN_BATCH", 2)
        self.patch(engine, "_REPORT_SECONDS", 0.0)
        store, now = self.server.stores.previews, self.server.clock.time_ms()
        for number in range(5):
            key = PreviewKey(HOST, f"https://site.example/{number}", "en")
            record = PreviewRecord("", "", "", "", "")
            await store.insert_preview(key, bucket_of(now), record)
        self.assertEqual(await self.run_tasks(), [])
        self.later(11)
        seen = self.note_reports()
        [task] = await self.run_tasks()
        self.assertEqual(task["task_name"], "recurring_purge_previews")
        self.assertEqual((task["is_finished"], task["error_message"]), (True, ""))
        self.assertEqual(seen, [(0, 0), (2, 5), (4, 5), (5, 5), (5, 5)])
        self.assertEqual(await self.count("mmr_url_previews"), 0)

    def note_reports(self) -> list[tuple[int, int]]:
        """From now on, what tasks say of themselves: done and total."""
        seen: list[tuple[int, int]] = []
        report = TaskStore.report

        async def noting(
            store: TaskStore, task: int, progress: Any, *rest: Any
        ) -> bool:
            seen.append((progress.done, progress.total))
            return await report(store, task, progress, *rest)

        self.patch(TaskStore, "report", noting)
        return seen

    async def test_it_shows_how_much_there_is_from_the_start(self) -> None:
        for number in range(120):
            media_id = await self.upload(b"%d" % number, "a/b")
            await self.insert_remote(media_id)
        self.later(31)
        totals = self.note_reports()
        self.patch(engine, "_REPORT_SECONDS", 0.0)
        [task] = await self.run_tasks()
        self.assertEqual(
            totals, [(0, 0), (50, 121), (100, 121), (121, 121), (121, 121)]
        )
        self.assertEqual(
            (task["progress"]["done"], task["progress"]["total"]), (121, 121)
        )

    async def test_an_interrupted_run_goes_on_where_it_was(self) -> None:
        task = await self.server.stores.tasks.create(
            "recurring_purge_remote_media", {}, 1
        )
        await self.server.stores.tasks.report(task.id, Progress(done=9, total=10), 1)
        self.later(31)
        await self.server.task_engine.look()
        await self.eventually(lambda: self.server.task_engine.running == 0)
        [shown] = (await self.read("tasks/all")).json
        self.assertEqual(
            (shown["progress"]["done"], shown["progress"]["total"]), (10, 10)
        )

    async def test_it_shows_in_the_audit_log(self) -> None:
        self.later(31)
        await self.run_tasks()
        [entry] = (await self.read("audit")).json["entries"]
        self.assertEqual((entry["actor"], entry["affected"]), ("@expiry", 1))
        self.assertEqual(entry["reason"], "downloads.expireAfterDays")

    async def test_a_clock_that_jumped_ahead_removes_nothing(self) -> None:
        """R100: a run that would remove nearly all waits a day."""
        self.patch(patience, "UNUSUAL_COUNT", 1)
        self.later(365)
        self.assertEqual(await self.run_tasks(), [])
        self.assertEqual(await self.count("media"), 2)
        now = self.server.clock.monotonic()
        self.patch(self.server.clock, "monotonic", lambda: now + 25 * 3600)
        # By this clock nothing was heard of the database for a day: it is, in a second.
        session = self.server.session
        await self.eventually(lambda: session is None or session.is_live)
        await self.run_tasks()
        self.assertEqual(await self.count("media"), 1)

    async def test_it_runs_by_itself(self) -> None:
        names = [job.name for job in self.server.recurring._jobs]
        self.assertIn("submit_expiry", names)


class PostgresExpiryTests(ExpiryTests):
    engine: ClassVar[str] = "postgres"
