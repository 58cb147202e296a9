"""Imports over the admin API, and what must be so when they are over."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from tests.archives.making import Archive
from tests.harness import ServerCase
from tests.wire import Answer

BASE = "/_matrix/media/unstable/admin"


class ImportCase(ServerCase):
    """Starts imports and adds their parts."""

    __test__: ClassVar[bool] = False

    async def post(self, path: str, body: bytes = b"", **kwargs: Any) -> Answer:
        kwargs.setdefault("token", "admin-token")
        return await self.request("POST", f"{BASE}/{path}", body=body, **kwargs)

    async def start(self, body: bytes) -> str:
        """Start an import; gives its id."""
        answer = await self.post("import", body)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(set(answer.json), {"import_id", "task_id"})
        self.task_id: int = answer.json["task_id"]
        return str(answer.json["import_id"])

    async def add(self, import_id: str, body: bytes) -> Answer:
        return await self.post(f"import/{import_id}/part", body)

    async def close(self, import_id: str) -> Answer:
        return await self.post(f"import/{import_id}/close")

    async def task(self) -> dict[str, Any]:
        answer = await self.get(f"{BASE}/tasks/{self.task_id}", token="admin-token")
        task: dict[str, Any] = answer.json
        return task

    async def until_over(self) -> dict[str, Any]:
        """Wait for the end of the task; as often as it likes it is looked at."""

        async def is_over() -> bool:
            await self.server.task_engine.look()
            return bool((await self.task())["is_finished"])

        await self.eventually(is_over)
        return await self.task()

    async def until_idle(self) -> None:
        async def is_idle() -> bool:
            return self.server.task_engine.running == 0

        await self.eventually(is_idle)

    async def check_nothing_is_left(self) -> None:
        """No import, no part, no temporary file."""
        await self.until_idle()
        await self.server.sweep.sweep(-1)
        await self.server.sweep.delete_queued()
        for table in ("mmr_imports", "mmr_import_parts", "mmr_object_intents"):
            self.assertEqual(await self.count(table), 0, table)
        rows = await self.server.db.fetch_all("l", "SELECT location FROM media")
        self.assertEqual(
            {str(path.relative_to(self.media_folder)) for path in self.files()},
            {row[0] for row in rows},
        )
        totals = await self.server.stores.datastores.get_totals()
        if "folder" in totals:
            self.assertEqual(totals["folder"].objects, len(self.files()))

    async def forget_media(self) -> None:
        """For another run of the same."""
        rows = await self.server.db.fetch_all("l", "SELECT origin, media_id FROM media")
        delete = self.server.stores.media.delete_media_txn
        for row in rows:
            await self.server.db.interaction("d", delete, *row)
        self.server.media_records.clear()

    def archive(self, count: int = 6) -> Archive:
        archive = Archive()
        for number in range(count):
            archive.add(f"m{number}", os.urandom(1000))
        return archive

    async def check_all_is_here(self, archive: Archive) -> None:
        for number, (_, data) in enumerate(archive.entries):
            self.assertEqual((await self.download(f"m{number}")).body, data)
