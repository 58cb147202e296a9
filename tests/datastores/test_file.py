"""The file datastore: contract, layout on disk, links, checks, sweep."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock as FakeReactor
from twisted.trial.unittest import TestCase

from mmr.datastores.base import (
    BadLocation,
    DatastoreError,
    DatastoreFull,
)
from mmr.datastores.file import FileDatastore
from mmr.datastores.filesystem import FileSystem
from mmr.errors import StartupError, unavailable
from mmr.util.clock import Clock
from mmr.util.threads import WorkerPool

from tests.datastores.contract import DatastoreContract
from tests.datastores.fakes import (
    ALL_KINDS,
    FaultyFileSystem,
    Foreground,
    SmallDisk,
    file_store,
    files_below,
    fresh_folder,
    put_file,
)


class FileContractTests(DatastoreContract):
    """The contract, with real threads."""

    __test__ = True

    def make_datastore(self) -> FileDatastore:
        pool = WorkerPool("files", 4, 100, reactor)  # type: ignore[arg-type]
        pool.start()
        self.addCleanup(pool.stop)
        self.path = fresh_folder(self)
        clock = Clock(reactor)  # type: ignore[arg-type]
        return FileDatastore("main", ALL_KINDS, self.path, pool, clock, lambda: 0)

    async def test_layout_and_modes_are_those_of_mmr(self) -> None:
        location = await self.stored(b"data")
        ab, cd, rest = location.split("/")
        self.assertEqual((len(ab), len(cd)), (2, 2))
        self.assertTrue(rest.endswith("idv2fmt"))
        path = os.path.join(self.path, location)
        umask = os.umask(0)
        os.umask(umask)
        for name, mode in ((path, 0o644), (os.path.dirname(path), 0o755)):
            self.assertEqual(stat.S_IMODE(os.stat(name).st_mode), mode & ~umask)

    async def test_nothing_but_the_objects_is_left(self) -> None:
        locations = sorted([await self.stored(os.urandom(n)) for n in (10, 400_000)])
        await (await self.sealed(os.urandom(400_000))).discard()
        self.assertEqual(files_below(self.path), locations)

    async def test_discard_waits_for_the_write_of_a_client_that_left(self) -> None:
        writer = await self.store.create()
        for _ in range(3):
            write = Deferred.fromCoroutine(writer.write(os.urandom(3_000_000)))
            write.cancel()
            with self.assertRaises(CancelledError):
                await write
        await writer.discard()
        self.assertEqual(files_below(self.path), [])


class ForegroundCase(TestCase):
    """A store without threads on a fresh folder."""

    def setUp(self) -> None:
        self.path = os.path.join(fresh_folder(self), "media")
        os.mkdir(self.path)

    async def store_object(
        self, store: FileDatastore, data: bytes, location: str = "ab/cd/ef"
    ) -> None:
        writer = await store.create()
        await writer.write(data)
        await writer.seal()
        await writer.publish(location)


class HopTests(ForegroundCase):
    """Small objects cost few pool jobs."""

    async def test_a_small_upload_is_one_pool_job(self) -> None:
        files = Foreground()
        store = file_store(self.path, files=files)
        await store.check()
        files.jobs = 0
        await self.store_object(store, b"x" * 20_000)
        self.assertEqual(files.jobs, 1)

    async def test_a_small_download_is_one_pool_job_and_keeps_no_file_open(
        self,
    ) -> None:
        files = Foreground()
        store = file_store(self.path, files=files)
        await self.store_object(store, b"x" * 20_000)
        files.jobs = 0
        found = await store.open("ab/cd/ef")
        self.assertEqual(await found.read(0, found.size), b"x" * 20_000)
        self.assertIsNone(found.fileno())
        self.assertEqual(files.jobs, 1)

    async def test_a_large_object_has_a_descriptor_for_sendfile(self) -> None:
        store = file_store(self.path)
        await self.store_object(store, b"x" * 200_000)
        found = await store.open("ab/cd/ef")
        fd = found.fileno()
        assert fd is not None
        self.assertEqual(os.fstat(fd).st_size, 200_000)
        await found.close()
        self.assertIsNone(found.fileno())

    async def test_an_object_that_nobody_took_closes_its_file(self) -> None:
        store = file_store(self.path)
        await self.store_object(store, b"x" * 200_000)
        found = await store.open("ab/cd/ef")
        fd = found.fileno()
        assert fd is not None
        del found
        with self.assertRaises(OSError):
            os.fstat(fd)

    async def test_a_writer_ends_once(self) -> None:
        store = file_store(self.path)
        writer = await store.create()
        await writer.seal()
        for again in (writer.write(b"late"), writer.seal()):
            with self.assertRaises(RuntimeError):
                await again


class FullPool(Foreground):
    """Refuses work while ``is_full``."""

    is_full = False

    async def run(self, function, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        if self.is_full:
            raise unavailable("busy")
        return await super().run(function, *args, **kwargs)


class OverloadTests(ForegroundCase):
    """A pool that refuses work."""

    async def test_discard_clears_up_when_the_pool_is_full(self) -> None:
        files = FullPool()
        store = file_store(self.path, files=files)
        writer = await store.create()
        await writer.write(b"x" * 300_000)
        self.assertEqual(len(files_below(self.path)), 1)
        files.is_full = True
        await writer.discard()
        self.assertEqual(files_below(self.path), [])


class InterruptingFileSystem(FileSystem):
    """Calls ``interrupt`` in the middle of the first write."""

    def __init__(self) -> None:
        self.interrupt: Callable[[], object] = lambda: None

    def write(self, fd: int, data: bytes | memoryview) -> int:
        written = super().write(fd, data[:10])
        interrupt, self.interrupt = self.interrupt, lambda: None
        interrupt()
        return written


class Queue(Foreground):
    """Holds jobs back until `work` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.started: Deferred[None] | None = None

    async def run(self, function, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        if self.started is not None:
            await self.started
        return await super().run(function, *args, **kwargs)


class InterruptedTests(ForegroundCase):
    """A discard that comes while a job waits or runs."""

    async def test_a_running_job_clears_up_when_the_pool_is_full(self) -> None:
        files, fs = FullPool(), InterruptingFileSystem()
        store = file_store(self.path, fs, files=files)
        writer = await store.create()

        def leave() -> None:
            files.is_full = True
            self.successResultOf(writer.discard())
            self.assertEqual(len(files_below(self.path)), 1)

        fs.interrupt = leave
        await writer.write(b"x" * 300_000)
        self.assertEqual(files_below(self.path), [])
        with self.assertRaises(RuntimeError):
            await writer.seal()

    async def test_a_job_that_waits_does_not_publish_what_was_discarded(self) -> None:
        files = Queue()
        store = file_store(self.path, files=files)
        writer = await store.create()
        await writer.write(b"data")
        await writer.seal()
        files.started = Deferred()
        publishing = Deferred.fromCoroutine(writer.publish("ab/cd/ef"))
        discarding = Deferred.fromCoroutine(writer.discard())
        files.started.callback(None)
        await discarding
        with self.assertRaises(RuntimeError):
            await publishing
        self.assertEqual(files_below(self.path), [])


class LocationTests(ForegroundCase):
    """R71: what a row or a link in the folder may lead to."""

    async def test_links_that_leave_the_folder_are_refused_and_logged(self) -> None:
        """R71: a file link, a folder link, a relative one."""
        secret = put_file(self.path, "../outside/secret")
        put_file(self.path, "ab/cd/ef")
        os.symlink(secret, os.path.join(self.path, "ab/cd/file"))
        os.symlink("../../outside", os.path.join(self.path, "ab/out"))
        os.symlink("../../..", os.path.join(self.path, "ab/cd/up"))
        store = file_store(self.path)
        for location in ("ab/cd/file", "ab/out/secret", "ab/cd/up/outside/secret"):
            with self.assertLogs("mmr.datastores.base", logging.ERROR):
                with self.assertRaises(BadLocation):
                    await store.open(location)
        with self.assertRaises(BadLocation):
            await store.delete("ab/out/secret")
        self.assertTrue(await store.delete("ab/cd/file"))
        self.assertEqual(os.listdir(os.path.dirname(secret)), ["secret"])

    async def test_a_folder_with_a_similar_name_is_outside(self) -> None:
        """R71: ``/srv/media-old`` is not below ``/srv/media``."""
        put_file(self.path + "-old", "file")
        os.symlink(self.path + "-old", os.path.join(self.path, "ab"))
        with self.assertRaises(BadLocation):
            await file_store(self.path).open("ab/file")

    async def test_a_base_folder_that_is_a_link_works(self) -> None:
        """R71."""
        link = self.path + "-link"
        os.symlink(self.path, link)
        store = file_store(link)
        await store.check()
        await self.store_object(store, b"data")
        self.assertEqual((await store.open("ab/cd/ef")).size, 4)
        self.assertTrue(await store.delete("ab/cd/ef"))

    async def test_links_within_the_folder_work_and_delete_only_the_link(self) -> None:
        store = file_store(self.path)
        await self.store_object(store, b"data")
        os.symlink("ef", os.path.join(self.path, "ab/cd/twin"))
        self.assertEqual((await store.open("ab/cd/twin")).size, 4)
        self.assertTrue(await store.delete("ab/cd/twin"))
        self.assertEqual((await store.open("ab/cd/ef")).size, 4)

    async def test_only_regular_files_are_objects(self) -> None:
        """R71: a named pipe must not hold a thread, a folder is no object."""
        os.makedirs(os.path.join(self.path, "ab/cd"))
        os.mkfifo(os.path.join(self.path, "ab/pipe"))
        os.symlink("loop", os.path.join(self.path, "ab/loop"))
        store = file_store(self.path)
        for location in ("ab/pipe", "ab/cd", "ab/loop", "x" * 300):
            with self.assertRaises(BadLocation):
                await store.open(location)
        with self.assertRaises(BadLocation):
            await store.delete("ab/cd")

    async def test_unfinished_files_are_no_objects(self) -> None:
        """R71."""
        store = file_store(self.path)
        writer = await store.create()
        await writer.write(b"x" * 300_000)
        (unfinished,) = files_below(self.path)
        with self.assertRaises(BadLocation):
            await store.open(unfinished)
        await writer.discard()

    async def test_names_that_are_no_file_names_are_refused(self) -> None:
        """R71."""
        with self.assertRaises(BadLocation):
            await file_store(self.path).open("ab/cd/\ud800")

    async def test_a_disk_that_is_not_mounted_is_not_a_missing_object(self) -> None:
        os.rmdir(self.path)
        store = file_store(self.path)
        with self.assertRaisesRegex(DatastoreError, "mounted"):
            await store.open("ab/cd/ef")


class CheckTests(ForegroundCase):
    """What is found out at start."""

    async def test_makes_the_folder(self) -> None:
        path = os.path.join(self.path, "deep", "media")
        await file_store(path).check()
        self.assertEqual(os.listdir(path), [".mmr-tmp"])
        self.assertEqual(files_below(path), [])

    async def test_names_path_and_fix_when_a_file_is_in_the_way(self) -> None:
        path = put_file(self.path, "file")
        with self.assertRaisesRegex(StartupError, f"'main'.*{path}.*Not a dir.*change"):
            await file_store(path).check()

    async def test_names_path_and_fix_without_permission(self) -> None:
        fs = FaultyFileSystem("create", errno.EACCES)
        with self.assertRaisesRegex(StartupError, f"{self.path}.*Permission.*Give"):
            await file_store(self.path, fs).check()

    async def test_a_cold_store_is_neither_made_nor_written(self) -> None:
        fs = FaultyFileSystem("create", errno.EROFS)
        await file_store(self.path, fs, kinds=frozenset()).check()
        self.assertEqual(os.listdir(self.path), [])
        missing = os.path.join(self.path, "missing")
        with self.assertRaisesRegex(StartupError, "mounted"):
            await file_store(missing, kinds=frozenset()).check()
        self.assertEqual(os.listdir(self.path), [])

    async def test_a_full_disk_is_told_apart(self) -> None:
        """R97: the server starts and serves what is there."""
        for call in ("mkdir", "create", "write", "fsync"):
            fs = FaultyFileSystem(call, errno.ENOSPC)
            path = os.path.join(self.path, call)
            os.mkdir(path)
            with self.assertRaises(DatastoreFull):
                await file_store(path, fs).check()
            self.assertEqual(files_below(path), [])


class FreeSpaceTests(ForegroundCase):
    """R82: uploads end before the disk is full."""

    async def test_an_announced_length_is_refused_at_once(self) -> None:
        store = file_store(self.path, SmallDisk(3 << 30), floor=2 << 30)
        await store.create((1 << 30) - 1)
        with self.assertRaises(DatastoreFull) as caught:
            await store.create((1 << 30) + 1)
        self.assertEqual(caught.exception.status, 503)
        self.assertNotIn(self.path, str(caught.exception.body()))
        self.assertIn(self.path, str(caught.exception))

    async def test_nothing_is_taken_below_the_floor(self) -> None:
        store = file_store(self.path, SmallDisk(999), floor=1_000)
        with self.assertRaises(DatastoreFull):
            await store.create()

    async def test_a_body_without_length_ends_at_the_floor(self) -> None:
        disk = SmallDisk(1_000_000)
        store = file_store(self.path, disk, floor=300_000)
        writer = await store.create()
        await writer.write(b"x" * 600_000)
        disk.free -= 600_000
        with self.assertRaises(DatastoreFull):
            await writer.write(b"x" * 600_000)
        self.assertEqual(files_below(self.path), [])

    async def test_the_system_is_asked_every_two_seconds_at_most(self) -> None:
        reactor, disk = FakeReactor(), SmallDisk(10 << 30)
        store = file_store(self.path, disk, reactor=reactor)
        for _ in range(5):
            await (await store.create()).discard()
        self.assertEqual(disk.asked, 1)
        reactor.advance(2)
        await store.create()
        self.assertEqual(disk.asked, 2)

    async def test_space_that_was_freed_counts_at_once(self) -> None:
        disk = SmallDisk(1_000)
        store = file_store(self.path, disk)
        writer = await store.create()
        await writer.write(b"x" * 2_000)
        await writer.seal()
        disk.free = 5_000
        await writer.publish("ab/cd/ef")

    async def test_so_does_what_an_upload_that_failed_gave_back(self) -> None:
        store = file_store(self.path, SmallDisk(1_000_000))
        writer = await store.create(900_000)
        await writer.write(b"x" * 900_000)
        await writer.discard()
        await store.create(900_000)

    async def test_a_refusal_tells_what_is_asked_and_what_is_free(self) -> None:
        store = file_store(self.path, SmallDisk(1_000), floor=300)
        with self.assertRaises(DatastoreFull) as caught:
            await store.create(800)
        for number in ("800 bytes", "1000 are free", "300 are kept"):
            self.assertIn(number, str(caught.exception))


class SweepTests(ForegroundCase):
    """R95: what dead processes left."""

    def leave(self, name: str, age_s: float) -> str:
        path = put_file(self.path, ".mmr-tmp", name)
        os.utime(path, (1e6 - age_s, 1e6 - age_s))
        return os.path.relpath(path, self.path)

    async def test_files_that_get_their_place_meanwhile_are_passed_over(self) -> None:
        paths = [put_file(self.path, ".mmr-tmp", f"{n:032x}.part") for n in range(3)]
        found = FileSystem().files_with_age(os.path.dirname(paths[0]), 0)
        next(found)
        for path in paths:
            os.unlink(path)
        self.assertEqual(list(found), [])

    async def test_removes_only_old_unfinished_files_of_ours(self) -> None:
        reactor = FakeReactor()
        reactor.advance(1e6)
        store = file_store(self.path, reactor=reactor)
        self.assertEqual(await store.sweep_temporary(3600), 0)
        await self.store_object(store, b"object")
        self.leave("0" * 32 + ".part", 3700)
        kept = [
            self.leave("1" * 32 + ".part", 3500),
            self.leave("notes.txt", 9999),
            "ab/cd/ef",
        ]
        self.assertEqual(await store.sweep_temporary(3600), 1)
        self.assertEqual(files_below(self.path), sorted(kept))

    async def test_running_uploads_are_safe_from_a_clock_that_jumps(self) -> None:
        """R100."""
        reactor = FakeReactor()
        store = file_store(self.path, reactor=reactor)
        writer = await store.create()
        await writer.write(b"x" * 300_000)
        reactor.advance(4e9)
        self.assertEqual(await store.sweep_temporary(3600), 0)
        await writer.seal()
        await writer.publish("ab/cd/ef")
        self.assertEqual(files_below(self.path), ["ab/cd/ef"])
