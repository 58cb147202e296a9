"""Exports over the admin API, made and looked at for real."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

from tests.harness import ALICE, HOST
from tests.rest.admin.case import AdminCase
from tests.wire import Answer


def unpacked(data: bytes) -> dict[str, bytes]:
    """The files of a part."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as part:
        for info in part:
            file = part.extractfile(info)
            assert file is not None
            assert info.name not in found
            found[info.name] = file.read()
    return found


class ExportCase(AdminCase):
    """Starts exports and gets them."""

    async def start(self, path: str = f"user/{ALICE}/export", **kwargs: Any) -> str:
        """Start an export, and give its id once its task is over."""
        answer = await self.post(path, **kwargs)
        self.assertEqual(answer.status, 200, answer)
        self.task_id: int = answer.json["task_id"]
        await self.until_over()
        return str(answer.json["export_id"])

    async def task(self) -> dict[str, Any]:
        """The task of the last export."""
        answer = await self.read(f"tasks/{self.task_id}")
        self.assertEqual(answer.status, 200, answer)
        task: dict[str, Any] = answer.json
        return task

    async def until_over(self) -> None:
        async def is_over() -> bool:
            return bool((await self.task())["is_finished"])

        await self.eventually(is_over)

    async def export(
        self, export_id: str, path: str = "", method: str = "GET", **kwargs: Any
    ) -> Answer:
        """One request about an export; by default without a token."""
        kwargs.setdefault("token", None)
        base = f"/_matrix/media/unstable/admin/export/{export_id}"
        return await self.request(method, base + path, **kwargs)

    async def parts(self, export_id: str) -> list[dict[str, Any]]:
        answer = await self.export(export_id, "/metadata")
        self.assertEqual(answer.status, 200, answer)
        parts: list[dict[str, Any]] = answer.json["parts"]
        return parts

    async def files_of(self, export_id: str) -> dict[str, bytes]:
        """All files of all parts."""
        found: dict[str, bytes] = {}
        for part in await self.parts(export_id):
            answer = await self.export(export_id, f"/part/{part['index']}")
            self.assertEqual(answer.status, 200, answer)
            self.assertEqual(len(answer.body), part["size"])
            files = unpacked(answer.body)
            self.assertFalse(files.keys() & found.keys())
            found |= files
        return found

    async def check(self, export_id: str, expected: dict[str, bytes]) -> dict[str, Any]:
        """All files and the manifest agree with the media (by id); gives the latter."""
        files = await self.files_of(export_id)
        manifest: dict[str, Any] = json.loads(files.pop("manifest.json"))
        files.pop("index.html")
        listed = manifest["media"]
        self.assertEqual({each["media_id"] for each in listed.values()}, set(expected))
        self.assertEqual(len(files), len(expected))
        for mxc, each in listed.items():
            self.assertEqual(mxc, f"mxc://{each['origin']}/{each['media_id']}")
            self.assertEqual(files[each["file_name"]], expected[each["media_id"]])
        return manifest

    async def check_nothing_left(self) -> None:
        """No part, no intent and no file that no media has."""
        for table in ("export_parts", "exports", "mmr_exports", "mmr_export_entries"):
            self.assertEqual(await self.count(table), 0, table)
        self.assertEqual(await self.count("mmr_object_intents"), 0)
        await self.check_consistent()


OTHER = "other.example"
USER_EXPORT = f"user/{ALICE}/export"
SERVER_EXPORT = f"server/{HOST}/export"
