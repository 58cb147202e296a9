"""Imports over the admin API, on both engines (mmr-http-api.md §11.9)."""

from __future__ import annotations

from typing import Any, ClassVar

from mmr.storage.consistency import ConsistencyStore
from mmr.tasks import import_data
from mmr.tasks import imports as imports_module
from mmr.tasks.consistency import Consistency

from tests.archives.making import WHEN, Archive, part
from tests.datastores.s3_server import moto_endpoint
from tests.harness import ALICE, ServerCase
from tests.rest.admin.import_case import BASE, ImportCase
from tests.rest.admin.test_datastores import AdminDatastoreCase


class ImportCases(ImportCase):
    async def test_parts_in_any_order(self) -> None:
        """It ends by itself when all media is here; answers are MMR's."""
        archive = self.archive()
        files = archive.parts(3)
        first, second, third, manifest = files.values()
        orders = (
            (manifest, first, second, third),
            (third, manifest, first, second),
            (first, second, third, manifest),
        )
        for order in orders:
            import_id = await self.start(order[0])
            for body in order[1:]:
                answer = await self.add(import_id, body)
                self.assertEqual((answer.status, answer.json), (200, {}))
            task = await self.until_over()
            self.assertEqual(task["error_message"], "")
            self.assertEqual(task["task_name"], "import_data")
            self.assertEqual(task["params"]["import_id"], import_id)
            self.assertEqual(task["params"]["export_id"], import_id)
            self.assertEqual(task["progress"]["done"], 6)
            self.assertEqual(task["progress"]["total"], 6)
            await self.check_all_is_here(archive)
            await self.check_nothing_is_left()
            self.assertEqual((await self.add(import_id, first)).status, 404)
            await self.forget_media()

    async def test_media_keeps_what_it_had(self) -> None:
        archive = Archive(ALICE, version=1)
        archive.add("one", b"one", uploader="")
        import_id = await self.start(archive.manifest_part())
        await self.add(import_id, part(archive.entries))
        await self.until_over()
        record = await self.record("one")
        self.assertEqual((record.user_id, record.creation_ts), (ALICE, WHEN))

    async def test_closing_ends_it_and_what_is_missing_is_told(self) -> None:
        """D66: it never blocks."""
        archive = self.archive(4)
        files = list(archive.parts(2).values())
        import_id = await self.start(files[-1])
        await self.add(import_id, files[0])
        answer = await self.close(import_id)
        self.assertEqual((answer.status, answer.json), (200, {}))
        task = await self.until_over()
        self.assertIn("missing: 2", task["error_message"])
        self.assertEqual(task["progress"]["done"], 2)
        self.assertEqual(task["progress"]["failed"], 2)
        self.assertEqual((await self.close(import_id)).status, 404)
        await self.check_nothing_is_left()

    async def test_closing_without_a_manifest(self) -> None:
        import_id = await self.start(part([("a", b"1")]))
        await self.until_idle()
        self.assertFalse((await self.task())["is_finished"])
        await self.close(import_id)
        task = await self.until_over()
        self.assertEqual(task["error_message"], "no part held a manifest.json")
        await self.check_nothing_is_left()

    async def test_a_bad_part_is_told_and_the_others_are_read(self) -> None:
        """And another copy of it is welcome."""
        archive = self.archive()
        one, two, manifest = archive.parts(2).values()
        import_id = await self.start(manifest)
        await self.add(import_id, one[:2000])
        await self.add(import_id, b"\x1f\x8b no archive")
        await self.add(import_id, two)
        await self.until_idle()
        self.assertFalse((await self.task())["is_finished"])
        await self.add(import_id, one)
        task = await self.until_over()
        self.assertIn("unreadable: 2", task["error_message"])
        self.assertEqual(task["progress"]["done"], 6)
        await self.check_all_is_here(archive)
        await self.check_nothing_is_left()

    async def test_a_bad_manifest_ends_it(self) -> None:
        archive = self.archive()
        archive.head["version"] = 7
        await self.start(archive.manifest_part())
        task = await self.until_over()
        self.assertIn("version 7", task["error_message"])
        await self.check_nothing_is_left()

    async def test_what_is_no_archive_is_refused_at_once(self) -> None:
        for body in (b"", b"no gzip", b"PK\x03\x04" + bytes(100)):
            answer = await self.post("import", body)
            self.assertEqual(answer.status, 400, body)
            self.assertIn(".tgz", answer.json["error"])
        await self.check_nothing_is_left()
        self.assertEqual(await self.count("background_tasks"), 0)

    async def test_unknown_and_impossible_ids(self) -> None:
        """R49: an unknown one looks like an ended one."""
        body = self.archive().manifest_part()
        for import_id, status in (
            ("0" * 40, 404),
            ("a" * 128, 404),
            ("a" * 129, 400),
            ("a%2Fb", 400),
            ("a.b", 400),
        ):
            self.assertEqual((await self.add(import_id, body)).status, status)
            self.assertEqual((await self.close(import_id)).status, status)
        await self.check_nothing_is_left()

    async def test_ids_are_not_to_be_guessed(self) -> None:
        """R49."""
        ids = [await self.start(part([("a", b"%d" % n)])) for n in range(2)]
        self.assertNotEqual(ids[0][:32], ids[1][:32])
        self.assertGreaterEqual(len(ids[0]), 40)

    async def test_cancelling_ends_it(self) -> None:
        archive = self.archive()
        import_id = await self.start(archive.manifest_part())
        await self.until_idle()
        answer = await self.post(f"tasks/{self.task_id}/cancel")
        self.assertEqual(answer.status, 200)
        self.assertEqual((await self.task())["error_message"], "cancelled")
        await self.server.import_data.sweep()
        self.assertEqual((await self.add(import_id, part([("a", b"")]))).status, 404)
        await self.check_nothing_is_left()

    async def test_nobody_comes_back(self) -> None:
        self.patch(import_data, "IDLE_MS", -1)
        await self.start(self.archive().manifest_part())
        task = await self.until_over()
        self.assertIn("missing: 6", task["error_message"])
        await self.check_nothing_is_left()

    async def test_there_is_a_bound_on_what_waits(self) -> None:
        """R49: imports, and parts of one."""
        self.patch(imports_module, "_MOST_OPEN", 2)
        self.patch(imports_module, "_MOST_WAITING", 3)
        body = part([("a", b"1")])
        ids = [await self.start(body) for _ in range(2)]
        answer = await self.post("import", body)
        self.assertEqual(answer.status, 429)
        self.assertIn("retry_after_ms", answer.json)
        statuses = [(await self.add(ids[0], body)).status for _ in range(4)]
        self.assertEqual(statuses, [200, 200, 429, 429])
        for import_id in ids:
            await self.close(import_id)
        await self.until_over()

        async def all_over() -> bool:
            await self.server.task_engine.look()
            return await self.count("mmr_imports") == 0

        await self.eventually(all_over)
        await self.check_nothing_is_left()

    async def test_waiting_imports_keep_no_other_task_from_running(self) -> None:
        """They take no worker while nothing comes."""
        self.patch(self.server.task_engine, "_num_workers", lambda: 1)
        for _ in range(3):
            await self.start(part([("a", b"1")]))
        await self.until_idle()
        answer = await self.post(f"user/{ALICE}/export")
        self.task_id = answer.json["task_id"]
        self.assertEqual((await self.until_over())["error_message"], "")

    async def test_any_process_takes_parts(self) -> None:
        """MMR: machine 0 only. The tasks themselves are machine 0's."""
        archive = self.archive()
        one, two, manifest = archive.parts(2).values()
        is_ours = self.server.task_engine._is_ours
        self.server.task_engine._is_ours = lambda: False
        import_id = await self.start(manifest)
        await self.add(import_id, one)
        await self.add(import_id, two)
        self.assertEqual(await self.count("media"), 0)
        self.server.task_engine._is_ours = is_ours
        self.assertEqual((await self.until_over())["error_message"], "")
        await self.check_all_is_here(archive)

    async def test_a_task_of_mmr_itself(self) -> None:
        """It was in MMR's memory alone."""
        task = await self.server.task_engine.submit(
            "import_data", {"export_id": "of-mmr"}
        )
        self.task_id = task.id
        self.assertIn(
            "start the import again", (await self.until_over())["error_message"]
        )

    async def test_who_may(self) -> None:
        """R48."""
        body = self.archive().manifest_part()
        for token, status in (("alice-token", 403), (None, 401)):
            answer = await self.post("import", body, token=token)
            self.assertEqual(answer.status, status)
        import_id = await self.start(body)
        for path in ("part", "close"):
            answer = await self.post(
                f"import/{import_id}/{path}", body, token="alice-token"
            )
            self.assertEqual(answer.status, 403)

    async def test_it_is_noted_who_did_it(self) -> None:
        """R90."""
        await self.start(self.archive().manifest_part())
        page = await self.server.stores.audit.get_page(0, 10, action="import")
        self.assertEqual(len(page), 1)

    async def test_the_program_of_consistency_knows_the_parts(self) -> None:
        """R102: a part that waits is no stray object."""
        await self.start(part([("a", b"1")]))
        check = Consistency(
            ConsistencyStore(self.server.db),
            self.store,
            self.server.files,
            lambda _: None,
        )
        self.assertEqual([each async for each in check.unreferenced()], [])
        self.assertEqual([each async for each in check.broken(verify=True)], [])
        self.assertIn("folder", await self.server.stores.datastores.get_ids_in_use())


class ImportsOnSqlite(ImportCases):
    __test__ = True


class ImportsOnPostgres(ImportCases):
    __test__ = True
    engine = "postgres"


class FromOurBucket(AdminDatastoreCase):
    """A manifest may say no more than where objects are (mmr-storage.md §5.3)."""

    async def test_objects_are_taken_over_where_they_are(self) -> None:
        media_id = await self.upload(b"in the bucket")
        await self.transfer()
        record = await self.record(media_id)
        archive = Archive()
        url = f"http://{moto_endpoint()}/{self.bucket}/{record.location}"
        archive.add("moved", b"in the bucket", s3_url=url)
        elsewhere = "http://127.0.0.1:1/bucket/key"
        archive.add("strange", b"elsewhere", s3_url=elsewhere)
        started = await self.admin("POST", "/import", body=archive.manifest_part())
        await self.admin("POST", f"/import/{started['import_id']}/close")
        task: Any = {}

        async def is_over() -> bool:
            task.update(await self.admin("GET", f"/tasks/{started['task_id']}"))
            return bool(task["is_finished"])

        await self.eventually(is_over)
        self.assertIn("missing: 1", task["error_message"])
        self.assertEqual((await self.download("moved")).body, b"in the bucket")
        self.assertEqual((await self.record("moved")).location, record.location)
        self.assertEqual(self.keys(), [record.location])


class SwitchedOff(ServerCase):
    config: ClassVar[dict[str, Any]] = {"archiving": {"enabled": False}}

    async def test_all_routes_say_so(self) -> None:
        for path in ("import", "import/abc/part", "import/abc/close"):
            answer = await self.request(
                "POST", f"{BASE}/{path}", token="admin-token", body=b""
            )
            self.assertEqual(answer.status, 400)
            self.assertEqual(answer.json["error"], "archiving is not enabled")


class NoPlace(ServerCase):
    def write_config(self, cs_api: str) -> None:
        self.config = {  # type: ignore[misc]
            "datastores": [
                {
                    "type": "file",
                    "id": "folder",
                    "forKinds": ["local_media", "remote_media", "thumbnails"],
                    "opts": {"path": str(self.media_folder)},
                }
            ]
        }
        super().write_config(cs_api)

    async def test_the_log_names_the_key(self) -> None:
        with self.assertLogs("mmr.datastores.base") as logs:
            answer = await self.request(
                "POST", f"{BASE}/import", token="admin-token", body=b"\x1f\x8b"
            )
        self.assertEqual(answer.status, 500)
        self.assertIn("forKinds", logs.output[0])
