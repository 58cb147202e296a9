"""Imports that are broken off, or run out of something (R94, R95, R97)."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from mmr.archives import part_process
from mmr.archives.catalogue import Catalogue
from mmr.datastores.base import DatastoreFull
from mmr.datastores.file_taken import TakenFiles
from mmr.datastores.file_writer import FileWriter
from mmr.media.adopt import Adoptions
from mmr.storage.imports import ImportStore
from mmr.storage.transaction import Transaction
from mmr.tasks import archive_import
from mmr.tasks.archive_judge import Judge
from mmr.util.memory_file import SharedFile

from tests.archives.making import Archive, part
from tests.rest.admin.import_case import ImportCase

DIES_ONCE = """
import os, signal
from mmr.archives import part_worker
from pathlib import Path
answer, marker = part_worker.answer, Path({marker!r})

def dying(*args):
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(*args)

part_worker.answer = dying
part_worker.confine = lambda limits: []
part_worker.main()
"""


class Body:
    """What a client sends."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data


class CrashCases(ImportCase):
    async def test_a_restart_goes_on_where_it_was(self) -> None:
        """With parts that were read, that wait, and that come later; in any moment."""
        for is_manifest_first in (False, True):
            archive = self.archive(9)
            one, two, three, manifest = archive.parts(3).values()
            first = manifest if is_manifest_first else one
            import_id = await self.start(first)
            await self.until_idle()
            await self.stop_server()
            await self.start_server()
            await self.add(import_id, two)
            second = manifest if first is one else one
            await self.add(import_id, second)
            await self.until_idle()
            await self.stop_server()
            await self.start_server()
            await self.until_idle()
            self.assertFalse((await self.task())["is_finished"])
            await self.add(import_id, three)
            task = await self.until_over()
            self.assertEqual(task["error_message"], "")
            await self.check_all_is_here(archive)
            await self.check_nothing_is_left()
            await self.forget_media()

    async def test_a_crash_in_the_middle_of_a_part(self) -> None:
        """R94: nothing is lost, nothing stays behind."""
        archive = self.archive(300)
        one, manifest = archive.parts(1).values()
        adopt_small = Adoptions.adopt_small
        calls: list[int] = []

        async def dying(adoptions: Adoptions, files: Any) -> Any:
            calls.append(len(files))
            if len(calls) > 1:
                raise RuntimeError("the process ends here")
            return await adopt_small(adoptions, files)

        async def no_end(task_id: int, now_ms: int, error: str = "") -> None:
            """A dead process ends no task."""

        self.patch(archive_import, "_BATCH_FILES", 100)
        import_id = await self.start(manifest)
        await self.until_idle()
        patches = [
            self.patch(Adoptions, "adopt_small", dying),
            self.patch(self.server.stores.tasks, "finish", no_end),
        ]
        await self.add(import_id, one)
        await self.until_idle()
        for patch in patches:
            patch.restore()
        self.flushLoggedErrors(RuntimeError)
        await self.stop_server()
        await self.start_server()
        task = await self.until_over()
        self.assertEqual(task["error_message"], "")
        self.assertEqual(task["progress"]["done"], 300)
        await self.check_all_is_here(archive)
        await self.check_nothing_is_left()

    async def test_a_crash_at_the_very_end_is_no_failure(self) -> None:
        """R94: an import and its task end at once."""

        async def no_end(task_id: int, now_ms: int, error: str = "") -> None:
            """The process ends before it comes to this."""

        archive = self.archive()
        one, manifest = archive.parts(1).values()
        patch = self.patch(self.server.stores.tasks, "finish", no_end)
        import_id = await self.start(one)
        await self.add(import_id, manifest)
        await self.until_idle()
        patch.restore()
        await self.stop_server()
        await self.start_server()
        self.assertEqual((await self.until_over())["error_message"], "")
        await self.check_all_is_here(archive)
        await self.check_nothing_is_left()

    async def test_a_crash_while_a_part_comes_in_leaves_nothing(self) -> None:
        """R94, R95: the sweep finds the object by its intent."""

        async def dying(*_: object, **__: object) -> None:
            raise RuntimeError("the process ends here")

        for method in ("create", "add_part"):
            import_id = ""
            if method == "add_part":
                import_id = await self.start(part([("a", b"1")]))
            patch = self.patch(ImportStore, method, dying)
            body = part([("b", os.urandom(500_000))])
            answer = await (
                self.add(import_id, body) if import_id else self.post("import", body)
            )
            patch.restore()
            self.assertEqual(answer.status, 500)
            self.assertEqual(await self.count("mmr_object_intents"), 1)
            if import_id:
                await self.close(import_id)
                await self.until_over()
            self.flushLoggedErrors(RuntimeError)
            await self.check_nothing_is_left()

    async def test_a_full_disk_is_waited_for(self) -> None:
        """R97."""
        archive = self.archive()
        one, manifest = archive.parts(1).values()
        import_id = await self.start(manifest)
        await self.until_idle()

        async def full(*_: object) -> None:
            raise DatastoreFull("no space")

        patch = self.patch(TakenFiles, "put", full)
        await self.add(import_id, one)
        await self.until_idle()
        patch.restore()
        self.assertFalse((await self.task())["is_finished"])
        self.assertEqual((await self.until_over())["error_message"], "")
        await self.check_all_is_here(archive)
        await self.check_nothing_is_left()

    def let_a_process_die(self) -> Path:
        """The next one that unpacks dies of its first job; gives what tells so."""
        marker = Path(self.mktemp()).resolve()
        code = DIES_ONCE.format(marker=str(marker))
        self.patch(part_process, "_COMMAND", (sys.executable, "-c", code))
        return marker

    async def test_a_process_that_dies_of_the_manifest_loses_nothing(self) -> None:
        """R94: whoever killed it: what is there is read again."""
        archive = self.archive()
        one, manifest = archive.parts(1).values()
        marker = self.let_a_process_die()
        import_id = await self.start(manifest)
        await self.until_idle()
        self.assertTrue(marker.exists())
        await self.add(import_id, one)
        self.assertEqual((await self.until_over())["error_message"], "")
        await self.check_all_is_here(archive)
        await self.check_nothing_is_left()

    async def test_a_process_that_dies_of_a_part_loses_nothing(self) -> None:
        """R94."""
        archive = self.archive()
        one, manifest = archive.parts(1).values()
        import_id = await self.start(manifest)
        await self.until_idle()
        marker = self.let_a_process_die()
        await self.add(import_id, one)
        await self.until_idle()
        self.assertTrue(marker.exists())
        self.assertFalse((await self.task())["is_finished"])
        self.assertEqual((await self.until_over())["error_message"], "")
        await self.check_all_is_here(archive)
        await self.check_nothing_is_left()

    async def test_a_part_that_comes_at_the_last_moment_is_read(self) -> None:
        """With the close behind it: both were acknowledged."""
        archive = self.archive(4)
        one, two, manifest = archive.parts(2).values()
        import_id = await self.start(manifest)
        await self.until_idle()
        finish_part = self.server.stores.imports.finish_part
        statuses: list[int] = []

        async def finish(*args: Any, **kwargs: Any) -> None:
            await finish_part(*args, **kwargs)
            patch.restore()
            statuses.append((await self.add(import_id, two)).status)
            statuses.append((await self.close(import_id)).status)

        patch = self.patch(self.server.stores.imports, "finish_part", finish)
        await self.add(import_id, one)
        self.assertEqual((await self.until_over())["error_message"], "")
        self.assertEqual(statuses, [200, 200])
        await self.check_all_is_here(archive)
        await self.check_nothing_is_left()

    async def test_what_was_refused_stays_so_after_a_restart(self) -> None:
        """The part that held it is read again; else it would be waited for."""
        self.patch(Judge, "_limit_for", lambda *_: 1000)
        archive = Archive()
        for media_id, size in (("small", 10), ("large", 2000), ("later", 10)):
            archive.add(media_id, os.urandom(size))
        import_id = await self.start(archive.manifest_part())
        await self.add(import_id, part(archive.entries[:2]))
        await self.until_idle()
        await self.stop_server()
        await self.start_server()
        await self.add(import_id, part(archive.entries[2:]))
        self.assertIn("refused: 1", (await self.until_over())["error_message"])
        await self.check_nothing_is_left()

    async def goes_on_after(self, broken: Any, name: str, error: Exception) -> None:
        """It waits while a method fails, and then does it all."""

        def failing(*_: Any, **__: Any) -> None:
            raise error

        # A shorter part is read without its descriptor.
        archive = self.archive(300)
        one, manifest = archive.parts(1).values()
        import_id = await self.start(manifest)
        await self.until_idle()
        patch = self.patch(broken, name, failing)
        await self.add(import_id, one)
        await self.until_idle()
        task = await self.task()
        self.assertFalse(task["is_finished"], task)
        patch.restore()
        self.assertEqual((await self.until_over())["error_message"], "")
        await self.check_all_is_here(archive)
        await self.check_nothing_is_left()

    async def test_more_open_files_are_waited_for(self) -> None:
        """R97."""
        error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        await self.goes_on_after(SharedFile, "copy", error)

    async def test_room_for_scratch_files_is_waited_for(self) -> None:
        """R97."""
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        await self.goes_on_after(Catalogue, "mark", error)

    async def test_who_leaves_while_their_part_is_stored_leaves_nothing(self) -> None:
        """R95: a thread may be at it still."""
        goes_on, is_there = threading.Event(), threading.Event()
        rename = FileWriter._rename

        def slow(writer: FileWriter, target: str) -> None:
            is_there.set()
            goes_on.wait(20)
            rename(writer, target)

        async def is_renaming() -> bool:
            return is_there.is_set()

        self.patch(FileWriter, "_rename", slow)
        body: Any = Body(self.archive().manifest_part())
        imports = self.server.imports
        work = Deferred.fromCoroutine(imports.start(self.server.config, body, "@a:b"))
        await self.eventually(is_renaming)
        work.cancel()
        for _ in range(20):
            await self.server.db.ping()
        await self.server.sweep.delete_queued()
        goes_on.set()
        with self.assertRaises(CancelledError):
            await work
        await self.check_nothing_is_left()


class CrashesOnSqlite(CrashCases):
    __test__ = True

    async def test_a_full_database_is_waited_for(self) -> None:
        """R97."""

        def leave_pages_txn(txn: Transaction, count: int) -> None:
            pages = txn.fetch_value("PRAGMA page_count")
            txn.fetch_value(f"PRAGMA max_page_count={pages + count}")

        archive = self.archive(300)
        one, manifest = archive.parts(1).values()
        import_id = await self.start(manifest)
        await self.until_idle()
        patch = self.patch(self.server.task_engine, "_is_ours", lambda: False)
        await self.add(import_id, one)
        patch.restore()
        await self.server.db.interaction("fill", leave_pages_txn, 1)
        await self.server.task_engine.look()
        await self.until_idle()
        self.assertFalse((await self.task())["is_finished"])
        await self.server.db.interaction("empty", leave_pages_txn, 100_000)
        self.flushLoggedErrors()
        self.assertEqual((await self.until_over())["error_message"], "")
        await self.check_all_is_here(archive)
        await self.check_nothing_is_left()


class CrashesOnPostgres(CrashCases):
    __test__ = True
    engine = "postgres"
