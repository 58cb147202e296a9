"""Every route that lets an admin change something writes it down (R90)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import ClassVar

from mmr.http.routing import Route

from tests.archives.making import Archive
from tests.harness import ADMIN, ALICE, HOST
from tests.rest.admin.case import LOCAL_ADMIN, ROOM, AdminCase, path_of

_REASON = "because it is a test"
_IS_ADMINS = re.compile(r"/admin/|/_matrix/media/unstable[^:]*/download/")
_QUERIES = {"purge": "before_ts=1700000000000&", "delete": "before_ts=1700000000000&"}
# An import is one action: what follows belongs to it, and the task tells how it went.
_CONTINUES = re.compile(r"/import/:import_id/")
# Synapse's calls, and those for archives, have no reasons.
_HAS_REASON = re.compile(r"/_matrix/(?!.*(export|import))")


class EveryChangeTests(AdminCase):
    def write_config(self, cs_api: str) -> None:
        folders = [
            {
                "type": "file",
                "id": name,
                "forKinds": ["all"],
                "opts": {"path": str(self.folder / name)},
            }
            for name in ("media", "shelf")
        ]
        self.config = {**self.config, "datastores": folders}  # type: ignore[misc]
        super().write_config(cs_api)

    async def setUp(self) -> None:
        await super().setUp()
        self.homeserver.room_media[ROOM] = {"local": [], "remote": []}
        self.homeserver.admin_pages = {}

    def routes(self) -> Iterator[tuple[str, Route]]:
        for route in self.server.router.routes:
            for method in route.methods:
                is_read = method in ("GET", "HEAD")
                if is_read or _CONTINUES.search(route.path):
                    continue
                if _IS_ADMINS.search(route.path):
                    yield method, route

    async def values(self, route: Route) -> dict[str, str]:
        """What is in the path: always something that can be changed."""
        values = {
            "server": HOST,
            "server_name": HOST,
            "user_id": path_of(ALICE),
            "room_id": path_of(ROOM),
            "digest": "0" * 64,
            "source_id": "media",
            "target_id": "shelf",
        }
        if ":media_id" in route.path:
            values["media_id"] = await self.upload(os.urandom(16), "a/b")
        if ":task_id" in route.path:
            task = await self.server.stores.tasks.create("storage_migration", {}, 1)
            values["task_id"] = str(task.id)
        if ":export_id" in route.path:
            answer = await self.post(f"user/{values['user_id']}/export")
            values["export_id"] = answer.json["export_id"]
        return values

    def an_archive(self) -> bytes:
        archive = Archive()
        archive.add("imported", os.urandom(10))
        return next(iter(archive.parts(1).values()))

    async def test_it_is_in_the_log_with_who_what_and_why(self) -> None:
        checked = 0
        for method, route in list(self.routes()):
            what = f"{method} {route.path}"
            values = await self.values(route)
            path = re.sub(":([a-z_]+)", lambda name, v=values: v[name[1]], route.path)
            query = next((q for word, q in _QUERIES.items() if word in path), "")
            body = b'{"purpose": "none"}' if "attributes" in path else None
            if path.endswith("/import"):
                body = self.an_archive()
            before = await self.count("mmr_admin_audit")
            answer = await self.request(
                method,
                f"{path}?{query}keep_profiles=false&reason={path_of(_REASON)}",
                token="admin-token",
                body=body,
            )
            self.assertIn(answer.status, (200, 303), (what, answer))
            self.assertEqual(await self.count("mmr_admin_audit"), before + 1, what)
            [entry] = (await self.read("audit?limit=1")).json["entries"]
            self.assertEqual(entry["actor"], ADMIN, what)
            self.assertTrue(entry["action"], what)
            self.assertTrue(entry["target"], what)
            self.assertIsNotNone(entry["finished_ts"], what)
            if _HAS_REASON.match(path):
                self.assertEqual(entry["reason"], _REASON, what)
            checked += 1
        self.assertGreater(checked, 60)

    async def test_looking_is_not_logged(self) -> None:
        media_id = await self.upload(b"a file", "a/b")
        await self.post(f"purge/{HOST}/{media_id}?dry_run=true")
        for path in ("audit", "tasks/all", f"usage/{HOST}", "datastores"):
            await self.read(path)
        self.assertEqual(await self.count("mmr_admin_audit"), 0)

    async def test_a_reason_has_an_end(self) -> None:
        for path in (f"purge/user/{path_of(ALICE)}", "tasks/1/cancel"):
            await self.server.stores.tasks.create("storage_migration", {}, 1)
            answer = await self.post(f"{path}?reason={'x' * 501}")
            self.assertEqual(answer.status, 400, path)
        self.assertEqual(await self.count("mmr_admin_audit"), 0)

    async def test_a_homeservers_admin_is_named(self) -> None:
        media_id = await self.upload(b"a file", "a/b")
        await self.post(f"quarantine/{HOST}/{media_id}", token="carol-token")
        [entry] = (await self.read("audit")).json["entries"]
        self.assertEqual(entry["actor"], LOCAL_ADMIN)


class PostgresEveryChangeTests(EveryChangeTests):
    engine: ClassVar[str] = "postgres"
