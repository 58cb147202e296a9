"""Datastores and tasks over the admin API, and moving media for real (§11.4, §11.7)."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import attrs

from mmr.datastores.base import DatastoreError
from mmr.datastores.file import FileDatastore
from mmr.tasks import transfer

from tests.datastores.s3_server import (
    bucket_options,
    moto_endpoint,
    new_bucket,
    raw_client,
)
from tests.harness import HOST, ServerCase, jpeg

BASE = "/_matrix/media/unstable/admin"
FUTURE = "before_ts=99999999999999"


class AdminDatastoreCase(ServerCase):
    """A server with a folder and a bucket that takes nothing new."""

    async def setUp(self) -> None:
        self.bucket = new_bucket()
        self.raw: Any = raw_client(moto_endpoint())
        await super().setUp()

    def write_config(self, cs_api: str) -> None:
        self.config = {  # type: ignore[misc]
            "datastores": [
                {
                    "type": "file",
                    "id": "folder",
                    "forKinds": ["all"],
                    "opts": {"path": str(self.media_folder)},
                },
                {
                    "type": "s3",
                    "id": "bucket",
                    "forKinds": [],
                    "opts": bucket_options(self.bucket),
                },
            ]
        }
        super().write_config(cs_api)

    async def admin(self, method: str, path: str, **more: Any) -> Any:
        answer = await self.request(method, BASE + path, token="admin-token", **more)
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    async def transfer(
        self, source: str = "folder", target: str = "bucket", rate: int = 0
    ) -> Any:
        """Move everything, and give the ended task."""
        # What was just used is known to the database every ten seconds.
        await self.server.last_access.flush()
        path = f"/datastores/{source}/transfer_to/{target}"
        query = f"{FUTURE}&bytes_per_second={rate}"
        started = await self.admin("POST", f"{path}?{query}")
        task: Any = {}

        async def is_over() -> bool:
            task.update(await self.admin("GET", f"/tasks/{started['task_id']}"))
            return bool(task["is_finished"])

        await self.eventually(is_over)
        return task

    def keys(self) -> list[str]:
        answer = self.raw.list_objects_v2(Bucket=self.bucket)
        return [item["Key"] for item in answer.get("Contents", ())]


class ListingTests(AdminDatastoreCase):
    async def test_every_datastore_is_listed_with_its_place(self) -> None:
        await self.upload(b"12345")
        found = await self.admin("GET", "/datastores")
        self.assertEqual(
            found,
            {
                "folder": {
                    "type": "file",
                    "uri": str(self.media_folder),
                    "size_bytes": 5,
                    "objects": 1,
                },
                "bucket": {
                    "type": "s3",
                    "uri": f"s3://{moto_endpoint()}/{self.bucket}",
                    "size_bytes": 0,
                    "objects": 0,
                },
            },
        )

    async def test_only_repository_admins_may(self) -> None:
        for method, path in (
            ("GET", "/datastores"),
            ("GET", "/datastores/folder/size_estimate"),
            ("GET", "/datastores/folder/failed_deletes"),
            ("POST", "/datastores/folder/transfer_to/bucket"),
            ("GET", "/tasks/all"),
            ("GET", "/tasks/unfinished"),
            ("GET", "/tasks/1"),
            ("POST", "/tasks/1/cancel"),
        ):
            answer = await self.request(method, BASE + path)
            self.assertEqual(answer.status, 403, path)

    async def test_estimates_count_each_content_once(self) -> None:
        await self.upload(b"12345", filename="a")
        await self.upload(b"12345", filename="b")
        await self.upload(b"123")
        found = await self.admin("GET", f"/datastores/folder/size_estimate?{FUTURE}")
        self.assertEqual(
            found,
            {
                "thumbnails_affected": 0,
                "thumbnail_hashes_affected": 0,
                "thumbnail_bytes": 0,
                "media_affected": 3,
                "media_hashes_affected": 2,
                "media_bytes": 8,
                "total_hashes_affected": 2,
                "total_bytes": 8,
            },
        )
        for path in (
            "folder/size_estimate?before_ts=30000000000",
            "none/size_estimate",
        ):
            found = await self.admin("GET", f"/datastores/{path}")
            self.assertEqual(set(found.values()), {0})

    async def test_mistakes_are_told(self) -> None:
        for path, status in (
            ("/datastores/folder/transfer_to/folder", 400),
            ("/datastores/folder/transfer_to/none", 400),
            ("/datastores/none/transfer_to/folder", 400),
            ("/datastores/folder/transfer_to/bucket?before_ts=soon", 400),
            # Seconds would move nothing, in silence.
            ("/datastores/folder/transfer_to/bucket?before_ts=1700000000", 400),
            ("/datastores/folder/transfer_to/bucket?bytes_per_second=-1", 400),
        ):
            answer = await self.request("POST", BASE + path, token="admin-token")
            self.assertEqual(answer.status, status, path)
        for path, status in (("x", 400), ("7", 404), ("9999999999999", 404)):
            answer = await self.get(f"{BASE}/tasks/{path}", token="admin-token")
            self.assertEqual(answer.status, status, path)
        self.assertEqual(await self.admin("GET", "/tasks/all"), [])

    async def test_failed_deletes_are_listed(self) -> None:
        media_id = await self.upload(b"data")
        store = self.server.datastores.get("folder")

        async def fails(location: str) -> bool:
            raise DatastoreError(f"cannot delete {location}")

        self.patch(store, "delete", fails)
        await self.server.db.interaction(
            "delete", self.server.stores.media.delete_media_txn, HOST, media_id
        )
        await self.server.sweep.delete_queued()
        (found,) = await self.admin("GET", "/datastores/folder/failed_deletes")
        self.assertEqual(found["attempts"], 1)
        self.assertIn("cannot delete", found["last_error"])


class TransferTests(AdminDatastoreCase):
    async def test_media_and_thumbnails_move_and_are_served_from_there(self) -> None:
        picture = jpeg(900, 700)
        media_id = await self.upload(picture, "image/jpeg")
        drawn = (await self.thumbnail(media_id)).body
        twin = await self.upload(picture, "image/jpeg", "twin.jpg")
        await self.download(media_id)
        task = await self.transfer()
        self.assertEqual(task["error_message"], "")
        self.assertEqual(
            (task["task_name"], task["progress"]["done"]), ("storage_migration", 2)
        )
        self.assertEqual(task["params"]["source_datastore_id"], "folder")
        for each in (media_id, twin):
            self.assertEqual((await self.record(each)).datastore_id, "bucket")
            self.assertEqual((await self.download(each)).body, picture)
        self.assertEqual((await self.thumbnail(media_id)).body, drawn)
        self.assertEqual(len(self.keys()), 2)
        totals = await self.server.stores.datastores.get_totals()
        self.assertEqual(totals["folder"].objects, 0)
        self.assertEqual(totals["bucket"].objects, 2)
        self.assertEqual(await self.count("mmr_object_intents"), 0)

    async def test_old_objects_stay_for_those_who_are_reading_them(self) -> None:
        await self.upload(b"data")
        await self.transfer()
        await self.server.sweep.delete_queued()
        self.assertEqual(len(self.files()), 1)
        await self.server.db.interaction(
            "later",
            lambda txn: txn.execute("UPDATE mmr_object_deletes SET next_try_ts = 1"),
        )
        self.assertEqual(await self.server.sweep.delete_queued(), 1)
        self.assertEqual(self.files(), [])

    async def test_a_damaged_object_stays_where_it_is(self) -> None:
        """R102: the hash is verified before the row is turned."""
        good = await self.upload(os.urandom(1000))
        bad = await self.upload(os.urandom(1000))
        path = await self.path_of(bad)
        path.chmod(0o600)
        path.write_bytes(os.urandom(1000))
        task = await self.transfer()
        self.assertIn("1 objects could not be moved", task["error_message"])
        self.assertEqual(task["progress"]["failed"], 1)
        self.assertEqual((await self.record(good)).datastore_id, "bucket")
        self.assertEqual((await self.record(bad)).datastore_id, "folder")
        self.assertEqual(len(self.keys()), 1)

    async def test_it_can_be_broken_off_and_goes_on(self) -> None:
        for number in range(4):
            await self.upload(os.urandom(1000 + number))
        moved = 0
        original = self.server.transfer.place

        async def place(*args: Any) -> None:
            nonlocal moved
            moved += 1
            if moved in (3, 4):
                raise RuntimeError("as if the process had died")
            await original(*args)

        self.patch(self.server.transfer, "place", place)
        first = await self.transfer()
        self.assertIn("RuntimeError", first["error_message"])
        self.assertEqual(len(self.keys()), 2)
        second = await self.transfer()
        self.assertEqual(second["error_message"], "")
        self.assertEqual(len(self.keys()), 4)

    async def test_media_that_is_deleted_meanwhile_leaves_nothing(self) -> None:
        """R101."""
        media_id = await self.upload(b"data")
        store = self.server.datastores.get("bucket")
        original = store.create

        async def create(*described: Any) -> Any:
            await self.server.db.interaction(
                "delete", self.server.stores.media.delete_media_txn, HOST, media_id
            )
            return await original(*described)

        self.patch(store, "create", create)
        await self.transfer()
        await self.server.sweep.delete_queued()
        self.assertEqual((self.keys(), self.files()), ([], []))

    async def test_a_transfer_keeps_to_its_rate(self) -> None:
        """Slowed down by the clock, not by a guess; all objects together."""
        for number in range(10):
            await self.upload(bytes([number]) * 1000)
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        self.patch(self.server.transfer._clock, "sleep", sleep)
        task = await self.transfer(rate=100)
        self.assertEqual(task["error_message"], "")
        self.assertEqual(len(slept), 10)
        self.assertTrue(90 < max(slept) <= 100, slept)


class TransferOnPostgresTests(TransferTests):
    engine = "postgres"


class DomainDatastoreTests(ServerCase):
    """D64: datastores of one homeserver's own configuration count too."""

    config: ClassVar[dict[str, Any]] = {}

    async def test_a_homeservers_own_datastore_is_a_target(self) -> None:
        media_id = await self.upload(b"data")
        other = FileDatastore(
            "domain",
            self.store.kinds,
            str(self.make_folder()),
            self.server.files,
            self.server.clock,
            lambda: 0,
        )
        await other.check()
        self.server.datastores._datastores["domain"] = other
        params = transfer.TransferParams("folder", "domain", 1 << 60, 0)
        await self.server.last_access.flush()
        await self.server.task_engine.submit(transfer.NAME, attrs.asdict(params))
        await self.eventually(lambda: self.server.task_engine.running == 0)
        self.assertEqual((await self.download(media_id)).body, b"data")
        self.assertEqual((await self.record(media_id)).datastore_id, "domain")
