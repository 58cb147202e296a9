"""A Synapse's media store as a datastore: read where it is, and never changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mmr.datastores.base import BadLocation, Datastore, DatastoreError, ObjectMissing
from mmr.datastores.registry import Place, synapse_provider
from mmr.errors import StartupError
from mmr.util.clock import Clock

from tests.datastores.fakes import fresh_folder
from tests.datastores.s3_server import (
    bucket_options,
    moto_endpoint,
    new_bucket,
    raw_client,
    started_pool,
)

LOCAL = "local_content/Ab/Cd/EfGh"
REMOTE = "remote_content/remote.example:8448/xY/zz/remote"
BIG = os.urandom(300_000)


def put_file(base: str, location: str, data: bytes) -> None:
    """A file, and the folders above it."""
    path = Path(base, location)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


class SynapseCase(TestCase):
    """A folder laid out as Synapse does."""

    def setUp(self) -> None:
        self.path = fresh_folder(self)
        put_file(self.path, LOCAL, b"local")
        put_file(self.path, REMOTE, BIG)

    def make(self, **opts: str) -> Datastore:
        pool = started_pool(self)
        build = synapse_provider(pool, pool, Clock(reactor), lambda: 1 << 62)  # type: ignore[arg-type]
        return build(Place("old", "synapse", opts, frozenset()))

    async def read(self, store: Datastore, location: str) -> bytes:
        stored = await store.open(location)
        try:
            return await stored.read(0, stored.size)
        finally:
            await stored.close()

    def snapshot(self) -> dict[str, tuple[bytes, int]]:
        """Every file with its content and time."""
        files = [path for path in Path(self.path).rglob("*") if path.is_file()]
        return {
            str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files
        }


class FolderTests(SynapseCase):
    async def test_local_and_remote_files_are_read(self) -> None:
        store = self.make(path=self.path)
        await store.check()
        self.assertEqual(await self.read(store, LOCAL), b"local")
        self.assertEqual(await self.read(store, REMOTE), BIG)
        with self.assertRaises(ObjectMissing):
            await store.open("local_content/Ab/Cd/none")

    async def test_nothing_else_of_synapse_is_given_out(self) -> None:
        """R71."""
        put_file(self.path, "url_cache/2020-01-01/abc", b"preview")
        put_file(self.path, "homeserver.db", b"secrets")
        store = self.make(path=self.path)
        for location in (
            "url_cache/2020-01-01/abc",
            "homeserver.db",
            "local_content/../homeserver.db",
            "local_content/Ab/Cd/EfGh/",
            "/etc/passwd",
            "",
        ):
            with self.assertRaises(BadLocation):
                await store.open(location)

    async def test_folders_at_the_top_may_be_links(self) -> None:
        """R71: those are the operator's; links deeper down may lead nowhere else."""
        elsewhere = fresh_folder(self)
        os.rename(f"{self.path}/remote_content", f"{elsewhere}/remotes")
        os.symlink(f"{elsewhere}/remotes", f"{self.path}/remote_content")
        put_file(elsewhere, "secret", b"secret")
        os.symlink(f"{elsewhere}/secret", f"{self.path}/local_content/Ab/Cd/link")
        store = self.make(path=self.path)
        self.assertEqual(await self.read(store, REMOTE), BIG)
        with self.assertRaises(BadLocation):
            await store.open("local_content/Ab/Cd/link")

    async def test_what_was_moved_off_is_found_in_the_providers_folder(self) -> None:
        backup = fresh_folder(self)
        put_file(backup, "local_content/Ab/Cd/moved", b"moved")
        put_file(backup, LOCAL, b"other")
        store = self.make(path=self.path, backupPath=backup)
        self.assertEqual(await self.read(store, "local_content/Ab/Cd/moved"), b"moved")
        self.assertEqual(await self.read(store, LOCAL), b"local")

    async def test_nothing_is_ever_written_or_deleted(self) -> None:
        before = self.snapshot()
        store = self.make(path=self.path)
        await store.check()
        with self.assertLogs("mmr.datastores.synapse", "INFO") as logs:
            self.assertFalse(await store.delete(LOCAL))
        self.assertIn(f"Left {LOCAL}", logs.output[0])
        self.assertEqual(await store.sweep_temporary(0), 0)
        with self.assertRaises(DatastoreError):
            await store.create(1)
        with self.assertRaises(DatastoreError):
            store.location_of("0123456789")
        self.assertEqual((store.kinds, store.is_foreign), (frozenset(), True))
        self.assertEqual(self.snapshot(), before)

    async def test_a_folder_that_is_not_there_stops_the_start(self) -> None:
        store = self.make(path=f"{self.path}/none")
        with self.assertRaisesRegex(StartupError, "none .opts.path. cannot be read"):
            await store.check()


class BucketTests(SynapseCase):
    """The bucket of synapse-s3-storage-provider."""

    def setUp(self) -> None:
        super().setUp()
        self.bucket = new_bucket()
        self.raw: Any = raw_client(moto_endpoint())
        for key, body in (
            ("s/local_content/Ab/Cd/gone", b"in s3"),
            (f"s/{LOCAL}", b""),
        ):
            self.raw.put_object(Bucket=self.bucket, Key=key, Body=body)

    async def test_files_that_were_removed_locally_come_from_the_bucket(self) -> None:
        store = self.make(path=self.path, prefix="s/", **bucket_options(self.bucket))
        await store.check()
        self.assertEqual(await self.read(store, "local_content/Ab/Cd/gone"), b"in s3")
        self.assertEqual(await self.read(store, LOCAL), b"local")
        self.assertFalse(await store.delete("local_content/Ab/Cd/gone"))
        with self.assertRaises(ObjectMissing):
            await store.open("local_content/Ab/Cd/none")
        found = self.raw.list_objects_v2(Bucket=self.bucket)
        self.assertEqual(found["KeyCount"], 2)

    async def test_a_bucket_alone_will_do(self) -> None:
        store = self.make(prefix="s/", **bucket_options(self.bucket))
        await store.check()
        self.assertEqual(await self.read(store, "local_content/Ab/Cd/gone"), b"in s3")
