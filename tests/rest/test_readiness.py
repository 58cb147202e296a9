"""``/healthz/ready`` (R97, D69)."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from mmr.datastores.filesystem import FileSystem
from mmr.errors import unavailable
from mmr.media import readiness
from mmr.thumbnailing import codecs

from tests.datastores.fakes import FaultyFileSystem
from tests.harness import Answer, ServerCase, png

READY = "/healthz/ready"


class ReadinessCases(ServerCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.patch(readiness, "FRESH_SECONDS", 0)

    def use_disk(self, disk: FileSystem) -> None:
        self.store.fs = self.store.folders._fs = disk

    async def ready(self) -> Answer:
        return await self.get(READY, token=None, host="unknown.example")

    async def check_red(self, *names: str) -> Answer:
        answer = await self.ready()
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json["error"], f"Not ready: {', '.join(names)}")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertNotIn(str(self.folder), answer.body.decode())
        self.assertEqual((await self.get("/healthz", token=None)).status, 200)
        return answer

    async def test_anybody_may_ask(self) -> None:
        await self.homeserver.stop()
        for token in (None, "alice-token", "nobody"):
            answer = await self.get(READY, token=token, host="unknown.example")
            self.assertEqual((answer.status, answer.json["ok"]), (200, True))
        wire = await self.wire()
        wire.send(b"HEAD /healthz/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual((await wire.answer("HEAD")).status, 200)
        self.assertEqual(self.files(), [])

    async def test_it_tells_which_optional_formats_are_drawn(self) -> None:
        """Issue 4."""
        formats = (await self.ready()).json["thumbnails"]
        self.assertEqual(formats, codecs.describe())
        self.assertLessEqual({"image/avif", "image/heic", "PDF"}, formats.keys())

    async def test_a_disk_that_takes_nothing(self) -> None:
        """It is told by name, with the reason in the log; reading goes on."""
        media_id = await self.upload(png())
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE):
            self.use_disk(FaultyFileSystem("create", number))
            with self.assertLogs("mmr", "WARNING") as logged:
                await self.check_red("datastore folder")
            self.assertIn(str(self.media_folder), str(logged.output))
            self.assertEqual((await self.download(media_id)).status, 200)
            self.use_disk(FileSystem())
            self.assertEqual((await self.ready()).status, 200)

    async def test_a_disk_without_the_room_that_is_kept_free(self) -> None:
        """R82: uploads are refused, so it isn't ready."""
        self.patch(self.store.space, "_floor", lambda: 1 << 60)
        await self.check_red("datastore folder")

    async def test_a_folder_that_is_gone(self) -> None:
        """It is not made again: its disk may come back."""
        self.media_folder.rename(self.folder / "elsewhere")
        await self.check_red("datastore folder")
        self.assertFalse(self.media_folder.exists())
        (self.folder / "elsewhere").rename(self.media_folder)
        self.assertEqual((await self.ready()).status, 200)

    async def test_a_database_that_does_not_answer(self) -> None:
        async def fail(*_: Any) -> None:
            raise unavailable("The database does not answer.")

        patch = self.patch(self.server.db, "interaction", fail)
        await self.check_red("database")
        self.use_disk(FaultyFileSystem("create", errno.EIO))
        await self.check_red("database", "datastore folder")
        self.use_disk(FileSystem())
        patch.restore()
        self.assertEqual((await self.ready()).status, 200)

    async def test_what_hangs_is_red_and_not_asked_again(self) -> None:
        asked: list[Deferred[None]] = []

        async def hang() -> None:
            asked.append(Deferred())
            await asked[-1]

        patch = self.patch(self.store, "probe", hang)
        self.patch(readiness, "PATIENCE_SECONDS", 0.05)
        for _ in range(3):
            await self.check_red("datastore folder")
        self.assertEqual(len(asked), 1)
        asked[0].callback(None)
        patch.restore()
        self.assertEqual((await self.ready()).status, 200)

    async def test_strangers_make_it_do_no_work(self) -> None:
        self.patch(readiness, "FRESH_SECONDS", 60)
        disk = FaultyFileSystem("none", 0)
        self.use_disk(disk)
        asking = [Deferred.fromCoroutine(self.ready()) for _ in range(30)]
        answers = await gatherResults(asking)
        answers += [await self.ready() for _ in range(10)]
        self.assertEqual({answer.status for answer in answers}, {200})
        self.assertEqual(disk.calls["create"], 1)


class ColdStores(ServerCase):
    async def test_a_store_that_takes_nothing_is_not_tested(self) -> None:
        self.patch(self.store, "kinds", frozenset())
        self.store.fs = self.store.folders._fs = FaultyFileSystem("create", errno.EIO)
        self.assertEqual((await self.get(READY, token=None)).status, 200)
