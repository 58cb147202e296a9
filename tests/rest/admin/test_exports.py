"""Exports of users and servers (mmr-http-api.md §11.8, mmr-storage.md §5)."""

from __future__ import annotations

import hashlib
import os
from typing import Any, ClassVar
from unittest import SkipTest

from tests.datastores.s3_server import bucket_options, moto_endpoint, new_bucket
from tests.harness import ADMIN, ALICE, BOB, HOST, png
from tests.rest.admin.export_case import SERVER_EXPORT, ExportCase, unpacked

_DAY_MS = 24 * 3600 * 1000


class ExportTests(ExportCase):
    config: ClassVar[dict[str, Any]] = {"archiving": {"targetBytesPerPart": 100_000}}

    async def test_a_user_gets_all_that_they_uploaded(self) -> None:
        picture = png()
        files = {
            await self.upload(picture, "image/png", "c%3Ct.png"): picture,
            await self.upload(b"some text", "text/plain"): b"some text",
            await self.upload(b""): b"",
        }
        await self.upload(b"not hers", token="bob-token")
        await self.create()
        export_id = await self.start()
        manifest = await self.check(export_id, files)
        self.assertEqual((manifest["version"], manifest["entity_id"]), (2, ALICE))
        media_id = next(iter(files))
        record = await self.record(media_id)
        self.assertEqual(
            manifest["media"][f"mxc://{HOST}/{media_id}"],
            {
                "name": "c<t.png",
                "file_name": f"{HOST}__{media_id}.png",
                "size_bytes": len(picture),
                "content_type": "image/png",
                "sha256": hashlib.sha256(picture).hexdigest(),
                "s3_url": "",
                "origin": HOST,
                "media_id": media_id,
                "created_ts": record.creation_ts,
                "uploader": ALICE,
            },
        )
        task = await self.task()
        self.assertEqual(
            (task["task_name"], task["error_message"]), ("export_data", "")
        )
        self.assertEqual(
            task["params"],
            {
                "user_id": ALICE,
                "export_id": export_id,
                "include_s3_urls": True,
                "include_data": True,
            },
        )
        self.assertEqual((task["progress"]["done"], task["progress"]["total"]), (3, 3))
        self.assertEqual(
            [part["name"] for part in await self.parts(export_id)],
            ["export-part-1.tgz", "export-manifest.tgz"],
        )

    async def test_a_server_export_has_the_media_of_all_its_users(self) -> None:
        files = {
            await self.upload(b"alice's"): b"alice's",
            await self.upload(b"bob's", token="bob-token"): b"bob's",
        }
        remote = await self.upload(b"remote")
        await self.insert_remote(remote)
        manifest = await self.check(await self.start(SERVER_EXPORT), files)
        self.assertEqual(manifest["entity_id"], HOST)
        await self.check(
            await self.start("server/remote.example/export"), {remote: b"remote"}
        )

    async def test_parts_are_closed_when_they_are_full(self) -> None:
        files = {}
        for size in (60_000, 50_000, 300_000, 1, 100_000):
            data = os.urandom(size)
            files[await self.upload(data)] = data
        export_id = await self.start()
        await self.check(export_id, files)
        names = [part["name"] for part in await self.parts(export_id)]
        self.assertEqual(
            names,
            [
                "export-part-1.tgz",
                "export-part-2.tgz",
                "export-part-3.tgz",
                "export-manifest.tgz",
            ],
        )
        self.assertEqual(await self.count("mmr_object_intents"), 0)

    async def test_an_export_of_nothing_is_whole(self) -> None:
        export_id = await self.start(f"user/{BOB}/export")
        await self.check(export_id, {})
        self.assertEqual(len(await self.parts(export_id)), 2)

    async def test_quarantined_media_is_left_out_and_the_log_says_so(self) -> None:
        """R84."""
        good, bad = await self.upload(b"good"), await self.upload(b"bad")
        await self.quarantine(bad)
        with self.assertLogs("mmr.tasks.export_data", "WARNING") as logs:
            export_id = await self.start()
        await self.check(export_id, {good: b"good"})
        self.assertIn(f"mxc://{HOST}/{bad} is quarantined", logs.output[0])
        self.assertEqual((await self.task())["error_message"], "")

    async def test_what_cannot_be_read_is_named_and_the_rest_goes_on(self) -> None:
        files = {await self.upload(b"good"): b"good"}
        lost, short = await self.upload(b"lost"), await self.upload(b"shorter")
        (await self.path_of(lost)).unlink()
        self.damage(await self.path_of(short), b"short")
        files[await self.upload(b"last")] = b"last"
        with self.assertLogs("mmr.tasks.export_data", "WARNING") as logs:
            export_id = await self.start()
        await self.check(export_id, files)
        self.assertEqual(len(logs.output), 2)
        for media_id in (lost, short):
            self.assertIn(media_id, "".join(logs.output))
        self.assertEqual(
            (await self.task())["error_message"],
            "2 files could not be read and are left out; the log names them",
        )

    async def test_a_damaged_file_is_exported_and_named(self) -> None:
        """R102. MMR only warns as well."""
        media_id = await self.upload(b"right")
        self.damage(await self.path_of(media_id), b"wrong")
        with self.assertLogs("mmr.tasks.export_data", "WARNING") as logs:
            export_id = await self.start()
        await self.check(export_id, {media_id: b"wrong"})
        self.assertIn(media_id, logs.output[0])
        self.assertIn("1 files are damaged", (await self.task())["error_message"])

    def damage(self, path: Any, data: bytes) -> None:
        path.chmod(0o600)
        path.write_bytes(data)

    async def test_only_the_manifest_can_be_had(self) -> None:
        """MMR 1.2's ``include_data``."""
        media_id = await self.upload(b"data")
        export_id = await self.start(f"user/{ALICE}/export?include_data=false")
        (part,) = await self.parts(export_id)
        self.assertEqual((part["index"], part["name"]), (1, "export-manifest.tgz"))
        answer = await self.export(export_id, "/part/1")
        self.assertIn(media_id.encode(), unpacked(answer.body)["manifest.json"])

    async def test_a_part_is_a_file_to_be_saved_and_resumed(self) -> None:
        await self.upload(os.urandom(5000))
        export_id = await self.start()
        whole = await self.export(export_id, "/part/1")
        self.assertEqual(whole.headers["content-type"], "application/gzip")
        self.assertEqual(
            whole.headers["content-disposition"],
            "attachment; filename=export-part-1.tgz",
        )
        self.assertEqual(whole.headers["cache-control"], "no-store")
        rest = await self.export(export_id, "/part/1", headers={"Range": "bytes=100-"})
        self.assertEqual((rest.status, rest.body), (206, whole.body[100:]))
        for part, status in (("3", 404), ("0", 404), ("-1", 404), ("x", 400)):
            answer = await self.export(export_id, f"/part/{part}")
            self.assertEqual(answer.status, status, part)

    async def test_deleting_an_export_takes_its_objects_with_it(self) -> None:
        media_id = await self.upload(b"data")
        for method, path in (("DELETE", ""), ("DELETE", "/delete")):
            export_id = await self.start()
            answer = await self.export(export_id, path, method)
            self.assertEqual((answer.status, answer.json), (200, {}))
            answer = await self.export(export_id, path, method)
            self.assertEqual(answer.status, 404)
            await self.check_nothing_left()
        self.assertEqual((await self.download(media_id)).body, b"data")

    async def test_starts_and_deletions_are_in_the_audit_log(self) -> None:
        export_id = await self.start()
        await self.export(export_id, method="DELETE")
        entries = (await self.read("audit")).json["entries"]
        self.assertEqual(
            [(each["actor"], each["action"], each["target"]) for each in entries],
            [("@export-link", "delete_export", ALICE), (ADMIN, "export", ALICE)],
        )
        self.assertNotIn(export_id, repr(entries))

    async def test_exports_expire(self) -> None:
        """R49."""
        await self.upload(b"data")
        export_id = await self.start()
        await self.server.exports.expire()
        self.assertEqual((await self.export(export_id, "/view")).status, 200)
        await self.execute(
            "UPDATE mmr_exports SET created_ts = created_ts - ?", (31 * _DAY_MS,)
        )
        await self.server.exports.expire()
        self.assertEqual((await self.export(export_id, "/view")).status, 404)
        await self.check_nothing_left()
        (entry,) = (await self.read("audit?action=delete_export")).json["entries"]
        self.assertEqual(entry["actor"], "@expiry")


class ExportOnPostgresTests(ExportTests):
    engine = "postgres"


class ExportInS3Tests(ExportTests):
    """Media and parts in a bucket."""

    def write_config(self, cs_api: str) -> None:
        self.bucket = new_bucket()
        opts = bucket_options(self.bucket, prefixLength="2")
        store = {"type": "s3", "id": "bucket", "forKinds": ["all"], "opts": opts}
        self.config = {**self.config, "datastores": [store]}
        super().write_config(cs_api)

    async def objects(self) -> set[str]:
        await self.server.sweep.delete_queued()
        store: Any = self.server.datastores.get("bucket")
        keys, _ = await store.keys()
        return {key for key, _ in keys}

    async def path_of(self, media_id: str) -> Any:
        raise SkipTest("files are damaged in folders")

    async def test_a_user_gets_all_that_they_uploaded(self) -> None:
        media_id = await self.upload(b"data")
        location = (await self.record(media_id)).location
        self.assertIn("/", location)
        url = f"http://{moto_endpoint()}/{self.bucket}/{location}"
        for query, expected in (
            ("", url),
            ("?s3_urls=true", url),
            ("?s3_urls=false", ""),
        ):
            export_id = await self.start(f"user/{ALICE}/export{query}")
            manifest = await self.check(export_id, {media_id: b"data"})
            (entry,) = manifest["media"].values()
            self.assertEqual(entry["s3_url"], expected)
