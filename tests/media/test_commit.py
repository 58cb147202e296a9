"""Failures and crashes at each step of a commit, on both engines (R94, R96)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from mmr.datastores.file_writer import FileWriter
from mmr.storage.errors import CommitOutcomeUnknown

from tests.harness import Answer, ServerCase, png

UPLOAD = "/_matrix/media/v3/upload"
CREATE = "/_matrix/media/v1/create"
SMALL = b"some bytes" * 10
LARGE = b"many bytes" * 60_000
STEPS = ("claim_object", "publish", "commit_object", "rename")


class Crash(Exception):
    """Stands for the end of the process."""


class CommitCases(ServerCase):
    __test__: ClassVar[bool] = False
    config = {
        "uploads": {
            "minBytes": 0,
            "minFreeBytes": 0,
            "quotas": {"enabled": True, "users": [{"glob": "@*", "maxFiles": 100}]},
        }
    }

    def on_interaction(self, desc: str, act: Callable[..., Any]) -> Any:
        """Have something else happen in place of a transaction."""
        original = self.server.db.interaction

        async def interaction(name: str, func: Any, *args: Any, **kwargs: Any) -> Any:
            async def run() -> Any:
                return await original(name, func, *args, **kwargs)

            return await (act(run) if name == desc else run())

        return self.patch(self.server.db, "interaction", interaction)

    def break_at(self, step: str, error: type[Exception]) -> Any:
        """Fail at a step; gives the patch."""
        if step == "publish":

            async def publish(writer: FileWriter, location: str) -> None:
                raise error("injected")

            return self.patch(FileWriter, "publish", publish)
        if step == "rename":
            # After the object is visible, before the row is.
            original = FileWriter.publish

            async def publish_and_fail(writer: FileWriter, location: str) -> None:
                await original(writer, location)
                raise error("injected")

            return self.patch(FileWriter, "publish", publish_and_fail)

        async def fail(run: Any) -> None:
            raise error("injected")

        return self.on_interaction(step, fail)

    async def post(self, data: bytes, token: str = "alice-token") -> Answer:
        return await self.request("POST", UPLOAD, body=data, token=token)

    async def clean_up(self) -> None:
        """All that the recurring jobs would do in an hour."""
        await self.server.sweep.sweep(-1)
        await self.server.sweep.delete_queued()

    async def test_a_failure_at_any_step_leaves_nothing(self) -> None:
        for step in STEPS:
            for data in (SMALL, LARGE):
                patch = self.break_at(step, ValueError)
                answer = await self.post(data)
                patch.restore()
                self.assertEqual(answer.status, 500, step)
                await self.server.sweep.delete_queued()
                self.assertTrue(await self.is_empty(), step)
        self.assertEqual((await self.post(SMALL)).status, 200)
        self.flushLoggedErrors()

    async def test_a_crash_at_any_step_loses_nothing_acknowledged(self) -> None:
        """R94: and the sweep finds all that is left."""
        kept = await self.upload(b"acknowledged")
        for step in STEPS:
            for data in (SMALL, LARGE):
                await self.crash_at(step, data)
                await self.clean_up()
                self.assertEqual(len(self.files()), 1, step)
                self.assertEqual(await self.count("media"), 1)
                self.assertEqual(await self.count("mmr_object_intents"), 0)
                self.assertEqual(await self.count("mmr_object_deletes"), 0)
                answer = await self.download(kept)
                self.assertEqual(answer.body, b"acknowledged")
        self.assertEqual((await self.post(SMALL)).status, 200)

    async def crash_at(self, step: str, data: bytes) -> None:
        """Fail at a step without any of the clearing up, and start again."""

        async def nothing(*_: object) -> None:
            raise Crash

        patches = [
            self.break_at(step, Crash),
            self.patch(FileWriter, "discard", nothing),
            self.patch(self.server.stores.intents, "sweep", nothing),
            self.patch(self.server.stores.quotas, "release", nothing),
        ]
        self.assertEqual((await self.post(data)).status, 500)
        for patch in patches:
            patch.restore()
        await self.stop_server()
        await self.start_server()

    async def test_reservations_of_the_dead_end(self) -> None:
        """R81."""
        await self.crash_at("publish", SMALL)
        self.assertEqual(await self.count("mmr_quota_reservations"), 1)
        await self.server._expire_pending()
        self.assertEqual(await self.count("mmr_quota_reservations"), 1)
        await self.server.stores.quotas.delete_old(-1)
        self.assertEqual(await self.count("mmr_quota_reservations"), 0)

    async def test_an_unknown_outcome_that_was_a_commit_is_an_answer(self) -> None:
        """R96."""

        async def lose_the_answer(run: Any) -> None:
            await run()
            raise CommitOutcomeUnknown("the connection broke")

        patch = self.on_interaction("commit_object", lose_the_answer)
        first = await self.upload(SMALL)
        patch.restore()
        patch = self.on_interaction("share_object", lose_the_answer)
        second = await self.upload(SMALL, token="bob-token")
        patch.restore()
        await self.clean_up()
        for media_id in (first, second):
            self.assertEqual((await self.download(media_id)).body, SMALL)
        self.assertEqual(await self.count("media"), 2)
        self.assertEqual(len(self.files()), 1)
        self.assertEqual(await self.count("mmr_quota_reservations"), 0)

    async def test_an_unknown_outcome_that_was_none_is_503(self) -> None:
        """R96: nothing is deleted before it is known that nothing refers to it."""

        async def lose_the_commit(run: Any) -> None:
            raise CommitOutcomeUnknown("the connection broke")

        for step in ("claim_object", "commit_object"):
            patch = self.on_interaction(step, lose_the_commit)
            answer = await self.post(SMALL)
            patch.restore()
            self.assertEqual(answer.status, 503, step)
            self.assertEqual(await self.count("media"), 0)
            self.assertEqual(await self.count("mmr_quota_reservations"), 0)
            await self.clean_up()
            self.assertTrue(await self.is_empty())
        self.assertEqual((await self.post(SMALL)).status, 200)

    async def test_a_put_whose_outcome_is_unknown(self) -> None:
        async def lose_the_answer(run: Any) -> None:
            await run()
            raise CommitOutcomeUnknown("the connection broke")

        async def lose_the_commit(run: Any) -> None:
            raise CommitOutcomeUnknown("the connection broke")

        media_id = await self.create()
        patch = self.on_interaction("commit_object", lose_the_commit)
        self.assertEqual((await self.put(media_id, SMALL)).status, 503)
        patch.restore()
        patch = self.on_interaction("commit_object", lose_the_answer)
        self.assertEqual((await self.put(media_id, SMALL)).status, 200)
        patch.restore()
        self.assertEqual((await self.download(media_id)).body, SMALL)

    async def test_anothers_content_is_no_answer_to_an_unknown_outcome(self) -> None:
        """R94: what was acknowledged is what is served."""
        media_id = await self.create()

        async def lose_the_race_and_the_commit(run: Any) -> None:
            patch.restore()
            self.assertEqual((await self.put(media_id, LARGE)).status, 200)
            raise CommitOutcomeUnknown("the connection broke")

        patch = self.on_interaction("commit_object", lose_the_race_and_the_commit)
        self.assertEqual((await self.put(media_id, SMALL)).status, 503)
        self.assertEqual((await self.download(media_id)).body, LARGE)

    async def test_where_nothing_is_lost_the_client_may_try_again(self) -> None:
        """R96: 503s."""
        media_id = await self.upload(png(16, 16))

        async def lose_the_commit(run: Any) -> None:
            raise CommitOutcomeUnknown("the connection broke")

        for step, call in (
            ("create_media", lambda: self.request("POST", CREATE)),
            ("reserve_quota", lambda: self.post(SMALL)),
            ("share_original", lambda: self.thumbnail(media_id)),
        ):
            patch = self.on_interaction(step, lose_the_commit)
            answer = await call()
            patch.restore()
            self.assertEqual(answer.status, 503, step)
            self.assertEqual((await call()).status, 200, step)

    async def test_the_sweep_ends_an_upload_that_slept_too_long(self) -> None:
        """R95: swept before its commit: 503, no record, no object."""

        async def sweep_first(run: Any) -> Any:
            await self.clean_up()
            return await run()

        for data in (SMALL, LARGE):
            patch = self.on_interaction("commit_object", sweep_first)
            self.assertEqual((await self.post(data)).status, 503)
            patch.restore()
            await self.clean_up()
            self.assertTrue(await self.is_empty())

    async def test_the_sweep_leaves_what_is_young(self) -> None:
        async def sweep_first(run: Any) -> Any:
            await self.server.sweep.sweep()
            return await run()

        self.on_interaction("commit_object", sweep_first)
        await self.upload(SMALL)

    async def test_a_shared_object_that_goes_meanwhile_is_stored_anew(self) -> None:
        """R101: deletion and upload of the same bytes."""
        first = await self.upload(SMALL)

        async def delete_first(run: Any) -> Any:
            await self.delete(first)
            return await run()

        patch = self.on_interaction("share_object", delete_first)
        second = await self.upload(SMALL, token="bob-token")
        patch.restore()
        await self.clean_up()
        self.assertEqual((await self.download(second)).body, SMALL)
        self.assertEqual(len(self.files()), 1)

    async def test_a_thumbnail_that_fails_to_be_stored_leaves_nothing(self) -> None:
        media_id = await self.upload(png(300, 300))
        for step in STEPS:
            patch = self.break_at(step, ValueError)
            self.assertEqual((await self.thumbnail(media_id)).status, 500)
            patch.restore()
            await self.clean_up()
            self.assertEqual(await self.count("thumbnails"), 0)
            self.assertEqual(len(self.files()), 1)
        self.assertEqual((await self.thumbnail(media_id)).status, 200)

    async def test_an_object_is_deleted_with_its_last_record(self) -> None:
        ids = [
            await self.upload(SMALL, token=token)
            for token in ("alice-token", "bob-token")
        ]
        await self.delete(ids[0])
        await self.clean_up()
        self.assertEqual((await self.download(ids[1])).body, SMALL)
        await self.delete(ids[1])
        await self.clean_up()
        self.assertEqual(self.files(), [])

    async def delete(self, media_id: str) -> None:
        record = await self.record(media_id)
        delete = self.server.stores.media.delete_media_txn
        await self.server.db.interaction("delete", delete, record.origin, media_id)


class CommitsOnSqlite(CommitCases):
    __test__ = True


class CommitsOnPostgres(CommitCases):
    __test__ = True
    engine = "postgres"
