"""What is deleted while others go through all there is: nothing is wrong with it."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from typing import Any

from mmr.archives import ending
from mmr.storage.consistency import ConsistencyStore
from mmr.storage.export_entries import ExportEntryStore
from mmr.tasks.consistency import Consistency
from mmr.tasks.transfer import Transfer

from tests.harness import ALICE, HOST, ServerCase
from tests.rest.admin.export_case import ExportCase
from tests.rest.admin.test_datastores import AdminDatastoreCase

PURGE = f"/_matrix/media/unstable/admin/purge/{HOST}/"


async def purge(case: ServerCase, media_id: str) -> None:
    """Delete a media and its object."""
    answer = await case.request("POST", PURGE + media_id, token="admin-token")
    case.assertEqual(answer.status, 200)
    await case.server.sweep.delete_queued()


def purging(
    case: ServerCase, ids: list[str], listing: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    """A listing; the last of the media is deleted once it was listed."""

    async def listed(*args: Any) -> Any:
        found = await listing(*args)
        if found and len(ids) == 2:
            await purge(case, ids.pop())
        return found

    return listed


class Transfers(AdminDatastoreCase):
    async def test_it_is_not_an_object_that_could_not_be_moved(self) -> None:
        ids = [await self.upload(os.urandom(1000)) for _ in range(2)]
        self.patch(Transfer, "some", purging(self, ids, Transfer.some))
        task = await self.transfer()
        self.assertEqual(task["error_message"], "")
        self.assertEqual(len(self.keys()), 1)


class Exports(ExportCase):
    async def test_it_is_not_a_file_that_could_not_be_read(self) -> None:
        contents = [os.urandom(100_000) for _ in range(2)]
        ids = [await self.upload(data) for data in contents]
        listing = ExportEntryStore.get_media
        self.patch(ExportEntryStore, "get_media", purging(self, ids, listing))
        export_id = await self.start()
        self.assertEqual((await self.task())["error_message"], "")
        await self.check(export_id, {ids[0]: contents[0]})

    async def test_room_for_scratch_files_is_waited_for(self) -> None:
        """R97."""
        media_id = await self.upload(b"some bytes")

        def full() -> Any:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        async def is_idle() -> bool:
            return not self.server.task_engine.running

        patch = self.patch(ending.tempfile, "TemporaryFile", full)
        answer = await self.post(f"user/{ALICE}/export")
        self.task_id = answer.json["task_id"]
        await self.eventually(is_idle)
        patch.restore()
        self.assertFalse((await self.task())["is_finished"])
        await self.server.task_engine.look()
        await self.until_over()
        self.assertEqual((await self.task())["error_message"], "")
        await self.check(answer.json["export_id"], {media_id: b"some bytes"})

    async def test_it_is_not_an_object_that_is_missing(self) -> None:
        """For the program of consistency, beside a server."""
        ids = [await self.upload(os.urandom(1000)) for _ in range(2)]
        rows = ConsistencyStore(self.server.db)
        self.patch(rows, "get_named", purging(self, ids, rows.get_named))
        check = Consistency(rows, self.store, self.server.files, lambda _: None)
        self.assertEqual([each async for each in check.broken(verify=False)], [])
