"""The server as a whole: starting, stopping, reloading, its recurring work."""

from __future__ import annotations

import os
import threading
import time

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mmr.config import load_config
from mmr.errors import StartupError
from mmr.server import MediaRepoServer

from tests.harness import ServerCase, png
from tests.test_tap import GOOD, empty_folder, write


def own_threads() -> list[str]:
    """The threads of our pools. Twisted's own pool keeps its threads."""
    pools = ("database", "files", "thumbnails")
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if any(pool in name for pool in pools)]


class Life(ServerCase):
    async def test_stop_leaves_no_thread_and_no_worker(self) -> None:
        await self.thumbnail(await self.upload(png(300, 300)))
        self.assertNotEqual(own_threads(), [])
        await self.stop_server()
        self.assertEqual(own_threads(), [])

    async def test_stopping_before_starting_and_twice_is_fine(self) -> None:
        await self.stop_server()
        server = MediaRepoServer(load_config([self.config_file]), self.server.reactor)
        await server.stop()
        await self.server.stop()

    async def test_stopping_waits_for_the_upload_under_way(self) -> None:
        """R103."""
        wire = await self.wire()
        size = 500_000
        wire.send(
            self.head("POST", "/_matrix/media/v3/upload", f"Content-Length: {size}")
        )
        wire.send(b"x" * (size - 1))
        await self.eventually(lambda: bool(self.files()))
        stopping = Deferred.fromCoroutine(self.stop_server())
        wire.send(b"x")
        self.assertEqual((await wire.answer()).status, 200)
        await stopping
        self.assertEqual(len(self.files()), 1)

    async def test_a_datastore_that_is_in_use_must_stay(self) -> None:
        await self.upload(b"data")
        await self.stop_server()
        text = self.config_file.read_text()
        self.config_file.write_text(text.replace("id: folder", "id: another"))
        server = MediaRepoServer(load_config([self.config_file]), self.server.reactor)
        with self.assertRaises(StartupError) as caught:
            await server.start()
        self.assertIn("'folder'", str(caught.exception))

    async def test_a_reload_takes_effect_and_forgets_tokens(self) -> None:
        config_path = "/_matrix/media/v3/config"
        await self.get(config_path)
        self.config = {"uploads": {"maxBytes": 77}}
        self.write_config(self.homeserver.url)
        self.server.reload(load_config([self.config_file]))
        self.assertEqual((await self.get(config_path)).json, {"m.upload.size": 77})
        self.assertEqual(self.homeserver.count("/whoami"), 2)

    async def test_a_reload_that_cannot_be_keeps_all_as_it_was(self) -> None:
        media_id = await self.upload(b"data")
        self.config = {"datastores": [self.tape(), self.tape()]}
        self.write_config(self.homeserver.url)
        with self.assertRaises(Exception):  # noqa: B017
            self.server.reload(load_config([self.config_file]))
        self.assertEqual((await self.download(media_id)).body, b"data")

    def tape(self) -> dict[str, object]:
        path = str(self.folder / os.urandom(4).hex())
        opts = {"path": path}
        return {"type": "file", "id": "same", "forKinds": ["all"], "opts": opts}


class RecurringWork(ServerCase):
    async def test_machine_0_does_what_must_be_done_once(self) -> None:
        config = load_config([self.config_file])
        for machine_id, expected in ((0, True), (1, False)):
            server = MediaRepoServer(config, self.server.reactor, machine_id)
            names = {job.name for job in server.recurring._jobs}
            self.assertIn("flush_last_access", names)
            for name in ("delete_objects", "sweep_unfinished", "expire_pending"):
                self.assertEqual(name in names, expected, name)

    async def test_every_job_runs(self) -> None:
        await self.download(await self.upload(b"data"))
        for job in self.server.recurring._jobs:
            await job.run()

    async def test_the_sweep_takes_old_temporary_files_of_the_dead_only(self) -> None:
        """R95."""
        folder = self.media_folder / ".mmr-tmp"
        old, young = (folder / f"{n * 16}.part" for n in ("ab", "cd"))
        for path in (old, young, folder / "a-note"):
            path.write_bytes(b"x")
        then = time.time() - 2 * 3600
        os.utime(old, (then, then))
        os.utime(folder / "a-note", (then, then))
        await self.server.sweep.sweep()
        self.assertFalse(old.exists())
        self.assertTrue(young.exists())
        self.assertTrue((folder / "a-note").exists())

    async def test_the_sweep_leaves_the_uploads_of_the_living(self) -> None:
        wire = await self.wire()
        head = self.head("POST", "/_matrix/media/v3/upload", "Content-Length: 500000")
        wire.send(head + b"x" * 400_000)
        await self.eventually(lambda: bool(self.files()))
        await self.server.sweep.sweep(-1)
        wire.send(b"x" * 100_000)
        self.assertEqual((await wire.answer()).status, 200)


class FailedStart(TestCase):
    async def test_a_server_that_cannot_start_leaves_no_threads(self) -> None:
        path = write(
            empty_folder(self) / "mmr.yaml",
            {**GOOD, "database": {"postgres": "postgres://x@127.0.0.1:9/x"}},
        )
        server = MediaRepoServer(load_config([path]), reactor)
        with self.assertRaises(StartupError):
            await server.start()
        self.assertEqual(own_threads(), [])
