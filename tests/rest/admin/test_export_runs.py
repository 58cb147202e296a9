"""Exports that are broken off, deleted, quarantined or spread over datastores."""

from __future__ import annotations

import json
import os
import tracemalloc
from typing import Any, ClassVar

import yaml

from twisted.internet.defer import Deferred

from mmr.datastores.base import DatastoreError
from mmr.datastores.file import FileObject
from mmr.errors import unavailable
from mmr.storage.tasks import Task
from mmr.storage.transaction import Transaction
from mmr.tasks import export_walk
from mmr.tasks.export_packing import Packer
from mmr.tasks.export_plan import Checkpoint

from tests.harness import ALICE, HOST
from tests.rest.admin.export_case import (
    SERVER_EXPORT,
    USER_EXPORT,
    ExportCase,
    unpacked,
)


class Aborted:
    """A request that remembers."""

    is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


class RunCase(ExportCase):
    config: ClassVar[dict[str, Any]] = {"archiving": {"targetBytesPerPart": 1000}}

    async def fill(self, count: int = 5) -> dict[str, bytes]:
        """Media that take a part each."""
        found = {}
        for _ in range(count):
            data = os.urandom(1000)
            found[await self.upload(data)] = data
        return found

    async def begin(self) -> str:
        """Start an export, and give its id at once."""
        answer = await self.post(USER_EXPORT)
        self.assertEqual(answer.status, 200, answer)
        self.task_id = answer.json["task_id"]
        return str(answer.json["export_id"])

    def at_part(self, number: int, what: Any) -> None:
        """Have something happen when so many parts are to be finished."""
        original = Packer.finish_part

        async def finish(packer: Packer, now: Checkpoint) -> Checkpoint:
            if packer.finished + 1 == number:
                await what()
            return await original(packer, now)

        self.patch(Packer, "finish_part", finish)


class InterruptedTests(RunCase):
    async def test_a_restart_goes_on_behind_the_last_part(self) -> None:
        """D66, R94: nothing twice, nothing left out, nothing left behind."""
        files = await self.fill()
        reached: Deferred[None] = Deferred()

        async def wait() -> None:
            if not reached.called:
                reached.callback(None)
                await Deferred()

        self.at_part(3, wait)
        export_id = await self.begin()
        await reached
        self.assertEqual(len(await self.parts(export_id)), 2)
        await self.stop_server()
        later = os.urandom(1000)
        await self.start_server()
        await self.until_over()
        await self.upload(later)
        self.assertEqual((await self.task())["error_message"], "")
        await self.check(export_id, files)
        self.assertEqual((await self.task())["progress"]["done"], 5)
        self.assertEqual(len(await self.parts(export_id)), 6)
        await self.export(export_id, method="DELETE")
        await self.check_nothing_left()

    async def test_a_store_that_is_away_is_waited_for(self) -> None:
        files = await self.fill(3)
        away = True

        async def fail() -> None:
            if away:
                raise unavailable("The media store is away")

        self.at_part(2, fail)
        export_id = await self.begin()
        await self.eventually(lambda: self.server.task_engine.running == 0)
        self.assertFalse((await self.task())["is_finished"])
        away = False
        await self.server.task_engine.look()
        await self.until_over()
        await self.check(export_id, files)

    async def test_a_failed_write_leaves_nothing_behind(self) -> None:
        """R97."""
        await self.fill(3)

        async def fail() -> None:
            raise DatastoreError("the disk is full of it")

        self.at_part(2, fail)
        export_id = await self.start()
        self.assertIn("media store failed", (await self.task())["error_message"])
        self.assertEqual(len(await self.parts(export_id)), 1)
        page = (await self.export(export_id, "/view")).body.decode()
        self.assertIn("ended with a problem", page)
        await self.export(export_id, method="DELETE")
        await self.check_nothing_left()

    async def test_a_large_file_that_breaks_off_is_left_out(self) -> None:
        """The part stays readable: what is missing is filled up."""
        large = await self.upload(os.urandom(400_000))
        small = await self.upload(b"small")
        original = FileObject.read

        async def read(file: FileObject, offset: int, length: int) -> bytes:
            return b"" if offset else await original(file, offset, length)

        self.patch(FileObject, "read", read)
        export_id = await self.start()
        self.assertIn("1 files could not be read", (await self.task())["error_message"])
        first, second, _ = await self.parts(export_id)
        self.assertEqual((first["index"], second["index"]), (1, 2))
        monkey = self.patch(FileObject, "read", original)
        files = await self.files_of(export_id)
        monkey.restore()
        listed = json.loads(files["manifest.json"])["media"]
        self.assertEqual(list(listed), [f"mxc://{HOST}/{small}"])
        self.assertEqual(len(files[f"{HOST}__{large}"]), 400_000)

    async def test_a_cancelled_export_stops(self) -> None:
        await self.fill(3)

        async def cancel() -> None:
            await self.post(f"tasks/{self.task_id}/cancel")

        reached: Deferred[None] = Deferred()
        self.at_part(2, lambda: reached)
        export_id = await self.begin()
        await self.eventually(lambda: self.parts_written() == 1)
        await cancel()
        reached.callback(None)
        await self.until_over()
        self.assertEqual((await self.task())["error_message"], "cancelled")
        await self.export(export_id, method="DELETE")
        await self.check_nothing_left()

    def parts_written(self) -> int:
        return sum(path.suffix != ".part" for path in self.files()) - 3

    async def test_a_deleted_export_is_not_gone_on_with(self) -> None:
        """R101."""
        await self.fill(3)
        ids: list[str] = []

        async def delete() -> None:
            await self.export(ids[0], method="DELETE")

        self.at_part(2, delete)
        original = self.server.task_engine.added

        async def added(task: Task) -> None:
            ids.append(task.params["export_id"])
            await original(task)

        self.patch(self.server.task_engine, "added", added)
        export_id = await self.start()
        self.assertEqual((await self.task())["error_message"], "the export was deleted")
        self.assertEqual((await self.export(export_id, "/view")).status, 404)
        await self.eventually(lambda: self.server.task_engine.running == 0)
        await self.check_nothing_left()

    async def test_a_task_of_mmr_is_done(self) -> None:
        """Adopted with the database: its rows don't exist yet."""
        files = await self.fill(2)
        task = await self.server.task_engine.submit(
            "export_data",
            {"user_id": ALICE, "export_id": "0" * 40, "include_s3_urls": True},
        )
        self.task_id = task.id
        await self.until_over()
        await self.check("0" * 40, files)

    async def test_bad_parameters_are_told_in_mmrs_words(self) -> None:
        export_id = await self.start()
        for params, error in (
            ({"user_id": ALICE}, "missing export id"),
            ({"export_id": "x"}, "no entity"),
            ({"export_id": "x", "user_id": "alice"}, "invalid user id"),
            ({"export_id": export_id, "server_name": HOST}, "the export id is in use"),
        ):
            task = await self.server.task_engine.submit("export_data", params)
            self.task_id = task.id
            await self.until_over()
            self.assertEqual((await self.task())["error_message"], error)


class InterruptedOnPostgresTests(InterruptedTests):
    engine = "postgres"


class QuarantineTests(RunCase):
    """R84, R85."""

    async def test_a_part_with_quarantined_media_is_not_given_out(self) -> None:
        _, bad = await self.fill(2)
        export_id = await self.start()
        for method, path in (
            ("quarantine", 404),
            ("unquarantine", 200),
        ):
            await self.post(f"{method}/{HOST}/{bad}")
            for headers in ({}, {"Range": "bytes=0-9"}):
                answer = await self.export(export_id, "/part/2", headers=headers)
                self.assertEqual(answer.status in (path, path + 6), True, answer)
            page = (await self.export(export_id, "/view")).body.decode()
            self.assertEqual("quarantined" in page, method == "quarantine")
            self.assertEqual((await self.export(export_id, "/part/1")).status, 200)
            self.assertEqual((await self.export(export_id, "/part/3")).status, 200)

    async def test_purged_content_that_is_quarantined_elsewhere_is_withheld(
        self,
    ) -> None:
        data = os.urandom(1000)
        mine = await self.upload(data)
        export_id = await self.start()
        other = await self.upload(data, token="bob-token")
        await self.post(f"purge/{HOST}/{mine}")
        self.assertEqual((await self.export(export_id, "/part/1")).status, 200)
        await self.post(f"quarantine/{HOST}/{other}")
        self.assertEqual((await self.export(export_id, "/part/1")).status, 404)

    async def test_a_part_of_mmrs_is_withheld_when_anything_is_quarantined(
        self,
    ) -> None:
        media_id, *_ = await self.fill(2)
        export_id = await self.start()
        await self.execute("DELETE FROM mmr_exports")
        await self.execute("DELETE FROM mmr_export_entries")
        self.assertEqual((await self.export(export_id, "/part/2")).status, 200)
        await self.post(f"quarantine/{HOST}/{media_id}")
        self.assertEqual((await self.export(export_id, "/part/2")).status, 404)
        self.assertEqual((await self.export(export_id, "/part/3")).status, 200)

    async def test_a_running_download_is_cut(self) -> None:
        media_id = await self.upload(os.urandom(30_000_000))
        await self.upload(b"other")
        export_id = await self.start(SERVER_EXPORT)
        path = f"/_matrix/media/unstable/admin/export/{export_id}/part/1"
        wire = await self.wire()
        assert wire.transport is not None
        wire.transport.pauseProducing()
        wire.send(self.head("GET", path, token=None))
        await self.eventually(lambda: len(self.server.export_downloads) == 1)
        await self.server.export_downloads.recheck()
        self.assertEqual(len(self.server.export_downloads), 1)
        await self.post(f"quarantine/{HOST}/{media_id}")
        self.assertEqual(len(self.server.export_downloads), 0)
        wire.transport.resumeProducing()
        received = await wire.closed()
        self.assertLess(len(received), 30_000_000)

    async def test_another_processs_quarantine_cuts_too(self) -> None:
        """Within two seconds: by a look at the database."""
        jobs = {job.name: job for job in self.server.recurring._jobs}
        self.assertLessEqual(jobs["check_exports"].interval_s, 2)
        media_id = await self.upload(os.urandom(1000))
        export = await self.server.exports.find(await self.start())
        assert export is not None
        downloads, request = self.server.export_downloads, Aborted()
        self.assertTrue(await downloads.begin(request, export, export.parts[0]))
        await downloads.recheck()
        # What the other process does, without a word to this one.
        quarantine = self.server.stores.quarantine
        sha256 = (await self.record(media_id)).sha256_hash

        def quarantine_txn(txn: Transaction) -> None:
            step = quarantine.step_txn(txn, [sha256], True, None)
            changes = self.server.stores.quarantine_changes
            changes.add_txn(txn, 1, step.changed, True)

        await self.server.db.interaction("t", quarantine_txn)
        self.assertFalse(request.is_aborted)
        await downloads.recheck()
        self.assertTrue(request.is_aborted)
        self.assertEqual(len(downloads), 0)

    async def test_media_quarantined_during_the_export_is_withheld(self) -> None:
        files = await self.fill(2)
        bad, good = files

        async def quarantine() -> None:
            await self.quarantine(bad)

        self.at_part(2, quarantine)
        export_id = await self.start()
        self.assertEqual((await self.export(export_id, "/part/1")).status, 404)
        answer = await self.export(export_id, "/part/3")
        listed = json.loads(unpacked(answer.body)["manifest.json"])["media"]
        self.assertEqual(list(listed), [f"mxc://{HOST}/{good}"])


class DomainDatastoreTests(RunCase):
    """D64: a homeserver's own datastores and settings."""

    def write_config(self, cs_api: str) -> None:
        super().write_config(cs_api)
        folder = self.folder / "conf.d"
        folder.mkdir()
        self.config_file = self.config_file.rename(folder / "main.yaml").parent
        own = {
            "type": "file",
            "id": "own",
            "forKinds": ["all"],
            "opts": {"path": str(self.folder / "own")},
        }
        settings = {
            "homeserver": HOST,
            "datastores": [own],
            "archiving": {"targetBytesPerPart": 2000},
        }
        (folder / "domain.yaml").write_text(yaml.safe_dump(settings))

    async def test_they_are_read_and_written(self) -> None:
        files = await self.fill(3)
        export_id = await self.start()
        await self.check(export_id, files)
        self.assertEqual(len(await self.parts(export_id)), 3)
        rows = await self.server.db.fetch_all(
            "t",
            "SELECT datastore_id FROM media UNION SELECT datastore_id"
            " FROM export_parts",
        )
        self.assertEqual(rows, [("own",)])

    async def test_another_servers_export_goes_where_the_main_settings_say(
        self,
    ) -> None:
        (media_id,) = await self.fill(1)
        await self.insert_remote(media_id)
        export_id = await self.start("server/remote.example/export")
        export = await self.server.exports.find(export_id)
        assert export is not None
        self.assertEqual({part.name.datastore_id for part in export.parts}, {"folder"})


class LargeFilesTests(ExportCase):
    async def test_memory_holds_no_file_whole(self) -> None:
        await self.upload(os.urandom(30_000_000))
        tracemalloc.start()
        try:
            await self.start()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.assertEqual((await self.task())["error_message"], "")
        self.assertLess(peak, 15_000_000)


class ManyFilesTests(ExportCase):
    async def test_a_part_holds_a_bounded_number_of_files(self) -> None:
        self.patch(export_walk, "_MOST_ENTRIES", 2)
        files = {await self.upload(bytes([n])): bytes([n]) for n in range(5)}
        export_id = await self.start()
        await self.check(export_id, files)
        self.assertEqual(len(await self.parts(export_id)), 4)


class NoDatastoreTests(RunCase):
    def write_config(self, cs_api: str) -> None:
        super().write_config(cs_api)
        settings = yaml.safe_load(self.config_file.read_text())
        kinds = ["local_media", "remote_media", "thumbnails"]
        settings["datastores"][0]["forKinds"] = kinds
        self.config_file.write_text(yaml.safe_dump(settings))

    async def test_a_missing_datastore_is_named_with_the_fix(self) -> None:
        await self.start()
        error = (await self.task())["error_message"]
        self.assertIn("no datastore takes archives. Add archives (or all)", error)
