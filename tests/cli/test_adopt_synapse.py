"""``mmr-adopt-synapse``, run as a program beside a server, and what it serves then."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from mmr.interop.foreign_database import ForeignDatabase, open_sqlite

from tests.datastores.s3_server import (
    bucket_options,
    moto_endpoint,
    new_bucket,
    raw_client,
)
from tests.harness import ALICE, HOST, ServerCase, jpeg
from tests.interop.synapse_tables import OLD_TABLES, TABLES, create, insert

ROOT = Path(__file__).parents[2]
BASE = "/_matrix/media/unstable/admin"
REMOTE = "remote.example"
ADOPT = ("-m", "mmr.cli.adopt_synapse")
PHOTO = jpeg(800, 600)
BIG = os.urandom(400_000)


class SynapseCase(ServerCase):
    """A server with a datastore of its own and one of a Synapse."""

    timeout = 120
    tables = TABLES
    more_opts: ClassVar[dict[str, str]] = {}

    async def setUp(self) -> None:
        self.synapse_folder = self.make_folder()
        self.synapse_media = self.synapse_folder / "media_store"
        (self.synapse_media / "local_content").mkdir(parents=True)
        (self.synapse_folder / "homeserver.yaml").write_text(
            f"server_name: {HOST}\n"
            "media_store_path: media_store\n"
            "database: {name: sqlite3, args: {database: homeserver.db}}\n"
        )
        (self.synapse_folder / "homeserver.db").touch()
        with self.synapse_database() as database:
            create(database, self.tables)
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
                    "type": "synapse",
                    "id": "old",
                    "opts": {"path": str(self.synapse_media), **self.more_opts},
                },
            ]
        }
        super().write_config(cs_api)

    def synapse_database(self) -> contextlib.closing[ForeignDatabase]:
        path = self.synapse_folder / "homeserver.db"
        return contextlib.closing(open_sqlite(path, writing=True))

    def add_local(self, media_id: str, data: bytes | None, **more: Any) -> Path:
        """A row and its file; without data only the row, of ten bytes."""
        values = {
            "media_id": media_id,
            "media_type": "image/jpeg",
            "media_length": 10 if data is None else len(data),
            "created_ts": 1_600_000_000_000,
            "upload_name": "picture.jpg",
            "user_id": ALICE,
        }
        with self.synapse_database() as database:
            insert(database, "local_media_repository", **{**values, **more})
        path = f"local_content/{media_id[:2]}/{media_id[2:4]}/{media_id[4:]}"
        return self.write_file(path, data)

    def add_remote(self, media_id: str, data: bytes, **more: Any) -> Path:
        values = {
            "media_origin": REMOTE,
            "media_id": media_id,
            "media_type": "text/plain",
            "created_ts": 1_600_000_000_000,
            "media_length": len(data),
            "filesystem_id": "FsId" + media_id,
        }
        with self.synapse_database() as database:
            insert(database, "remote_media_cache", **{**values, **more})
        return self.write_file(f"remote_content/{REMOTE}/Fs/Id/{media_id}", data)

    def write_file(self, path: str, data: bytes | None) -> Path:
        where = self.synapse_media / path
        if data is not None:
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(data)
        return where

    def snapshot(self) -> dict[Path, bytes]:
        """Everything in Synapse's folder."""
        files = [path for path in self.synapse_folder.rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in files}

    async def adopt(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        config = str(self.synapse_folder / "homeserver.yaml")
        return await self.run_program("--homeserver-config", config, *arguments)

    async def run_program(self, *arguments: str) -> tuple[int, str, str]:
        out, err, code = await getProcessOutputAndValue(
            sys.executable,
            [*ADOPT, "-config", str(self.config_file), *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            path=str(self.folder),
            reactor=reactor,
        )
        return code, out.decode(), err.decode()

    async def admin(self, method: str, path: str) -> Any:
        answer = await self.request(method, BASE + path, token="admin-token")
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    async def transfer(self) -> str:
        """Copy everything to our own store; gives the task's error."""
        await self.server.last_access.flush()
        path = "/datastores/old/transfer_to/folder?before_ts=99999999999999"
        started = await self.admin("POST", path)
        return await self.ended(started["task_id"])

    async def ended(self, task_id: int) -> str:
        task: Any = {}

        async def is_over() -> bool:
            task.update(await self.admin("GET", f"/tasks/{task_id}"))
            return bool(task["is_finished"])

        await self.eventually(is_over)
        return str(task["error_message"])

    async def fetch(self, origin: str, media_id: str, **more: Any) -> Any:
        path = f"/_matrix/client/v1/media/download/{origin}/{media_id}"
        return await self.get(path, **more)

    async def assert_served(self, contents: dict[tuple[str, str], bytes]) -> None:
        for (origin, media_id), data in contents.items():
            for _ in range(2):
                answer = await self.fetch(origin, media_id)
                self.assertEqual((answer.status, answer.body), (200, data), media_id)

    async def restart(self) -> None:
        await self.stop_server()
        await self.start_server()


class AdoptTests(SynapseCase):
    async def test_everything_is_served_at_once_and_copied_later(self) -> None:
        sha256 = hashlib.sha256(BIG).hexdigest()
        self.add_local("AbCdHashed", BIG, sha256=sha256)
        self.add_local("AbCdUnknown", PHOTO)
        self.add_local("AbCdTwin", PHOTO, media_type=None, upload_name=None)
        self.add_remote("remote", b"from afar")
        contents = {
            (HOST, "AbCdHashed"): BIG,
            (HOST, "AbCdUnknown"): PHOTO,
            (HOST, "AbCdTwin"): PHOTO,
            (REMOTE, "remote"): b"from afar",
        }
        before = self.snapshot()

        code, _, said = await self.adopt("--dry-run")
        self.assertEqual((code, await self.count("media")), (0, 0))
        self.assertIn("would be registered: 4", said)
        code, _, said = await self.adopt()
        self.assertEqual(code, 0, said)
        self.assertIn("registered: 4", said)
        await self.assert_served(contents)
        self.assertEqual(self.files(), [])

        answer = await self.fetch(HOST, "AbCdHashed")
        self.assertEqual(answer.headers["etag"], f'"{sha256}"')
        first = (await self.fetch(HOST, "AbCdUnknown")).headers["etag"]
        twin = (await self.fetch(HOST, "AbCdTwin")).headers["etag"]
        self.assertNotEqual(first, twin)
        self.assertEqual((await self.thumbnail("AbCdUnknown")).status, 200)

        _, _, said = await self.adopt()
        self.assertIn("registered: 0", said)
        self.assertIn("known: 4", said)

        thumbnails = len(self.files())
        self.assertEqual(await self.transfer(), "")
        await self.assert_served(contents)
        # The twins are one object now.
        self.assertEqual(len(self.files()), thumbnails + 3)
        for media_id in ("AbCdUnknown", "AbCdTwin"):
            answer = await self.fetch(HOST, media_id)
            wanted = hashlib.sha256(PHOTO).hexdigest()
            self.assertEqual(answer.headers["etag"], f'"{wanted}"')
            self.assertEqual((await self.record(media_id)).datastore_id, "folder")
        self.assertEqual(self.snapshot(), before)
        self.assertEqual(await self.count("mmr_object_deletes"), 0)
        totals = await self.server.stores.datastores.get_totals()
        self.assertEqual((totals["old"].objects, totals["old"].size_bytes), (0, 0))

        shutil.rmtree(self.synapse_media)
        (self.synapse_media / "local_content").mkdir(parents=True)
        await self.restart()
        await self.assert_served(contents)

    async def test_flags_and_times_are_kept(self) -> None:
        self.add_local(
            "AbCdFrozen",
            b"frozen",
            authenticated=True,
            last_access_ts=1_650_000_000_000,
        )
        self.add_local("AbCdOpen", b"open")
        self.add_local("AbCdBad1", b"bad", quarantined_by="@admin:media.example")
        self.add_local("AbCdSafe", b"safe", safe_from_quarantine=True)
        self.add_remote("bad", b"bad too", quarantined_by="system")
        await self.adopt()

        async def legacy(media_id: str) -> int:
            path = f"/_matrix/media/v3/download/{HOST}/{media_id}"
            return (await self.get(path, token=None)).status

        self.assertEqual(await legacy("AbCdFrozen"), 404)
        self.assertEqual(await legacy("AbCdOpen"), 200)
        for origin, media_id in ((HOST, "AbCdBad1"), (REMOTE, "bad")):
            answer = await self.fetch(origin, media_id)
            self.assertEqual(answer.status, 404)
        record = await self.record("AbCdFrozen")
        self.assertEqual(record.creation_ts, 1_600_000_000_000)
        self.assertEqual((record.user_id, record.upload_name), (ALICE, "picture.jpg"))
        found = await self.admin("GET", f"/media/{HOST}/AbCdSafe/attributes")
        self.assertEqual(found["purpose"], "pinned")
        row = await self.server.db.fetch_one(
            "access",
            "SELECT last_access_ts FROM last_access WHERE sha256_hash = ?",
            (record.sha256_hash,),
        )
        self.assertEqual(row, (1_650_000_000_000,))
        # The time goes with the content when its hash is learned.
        self.assertEqual(await self.transfer(), "")
        row = await self.server.db.fetch_one(
            "access",
            "SELECT last_access_ts FROM last_access WHERE sha256_hash = ?",
            (hashlib.sha256(b"frozen").hexdigest(),),
        )
        self.assertEqual(row, (1_650_000_000_000,))

    async def test_what_is_no_media_is_left_out_and_told(self) -> None:
        self.add_local("AbCdPending", None, media_length=None)
        self.add_local("2020-08-17_abcdefgh", None, url_cache="https://example.org/")
        self.add_local("AbCd/../../etc", None)
        self.add_local("AbCd", None)
        self.add_local("AbCdGood", b"good")
        code, out, err = await self.adopt()
        self.assertEqual(code, 1)
        self.assertIn("registered: 1", err)
        self.assertIn("skipped: uploads that never happened: 1", err)
        self.assertIn("skipped: fetched for URL previews: 1", err)
        self.assertIn(f"failed\tmxc://{HOST}/AbCd/../../etc\t", out)
        self.assertIn(f"failed\tmxc://{HOST}/AbCd\t", out)
        self.assertEqual(await self.count("media"), 1)

    async def test_local_media_alone(self) -> None:
        self.add_local("AbCdLocal", b"local")
        self.add_remote("remote", b"remote")
        _, _, said = await self.adopt("--local-only")
        self.assertIn("registered: 1", said)

    async def test_the_database_may_be_named_by_itself(self) -> None:
        self.add_local("AbCdLocal", b"local")
        database = f"sqlite:{self.synapse_folder}/homeserver.db"
        flags = ("-serverName", HOST, "-datastoreId=old", f"--database={database}")
        code, _, said = await self.run_program(*flags)
        self.assertEqual((code, "registered: 1" in said), (0, True), said)

    async def test_mistakes_end_it_before_anything_is_written(self) -> None:
        self.add_local("AbCdGood", b"good")
        for arguments, said in (
            (["-datastoreId", "folder"], "no such datastore of type `synapse`"),
            (["-serverName", "other.example"], "-serverName is 'other.example'"),
            (["-transferTo", "none"], "nothing can be copied to 'none'"),
            (["-transferTo", "old"], "nothing can be copied to 'old'"),
            (["--homeserver-config", "none.yaml"], "none.yaml: cannot be read"),
        ):
            code, _, err = await self.adopt(*arguments)
            self.assertEqual((code, said in err), (2, True), err)
        code, out, _ = await self.adopt("-help")
        self.assertEqual((code, "examples:" in out), (0, True))
        self.assertEqual(await self.count("media"), 0)


class OldSynapseTests(SynapseCase):
    """A database from before 2018: no hashes, no flags."""

    tables = OLD_TABLES

    async def test_the_task_is_started_on_demand(self) -> None:
        self.add_local("AbCdLocal", PHOTO)
        self.add_remote("remote", BIG)
        code, _, err = await self.adopt("-transferTo", "folder")
        self.assertEqual(code, 0, err)
        self.assertIn("copies it to folder", err)
        await self.server.task_engine.look()
        self.assertEqual(await self.ended(1), "")
        await self.assert_served({(HOST, "AbCdLocal"): PHOTO, (REMOTE, "remote"): BIG})
        record = await self.record("AbCdLocal")
        self.assertEqual(record.sha256_hash, hashlib.sha256(PHOTO).hexdigest())


class BucketTests(SynapseCase):
    """synapse-s3-storage-provider has moved files to its bucket, and deleted them."""

    async def setUp(self) -> None:
        self.bucket = new_bucket()
        opts = {"prefix": "synapse/", **bucket_options(self.bucket)}
        self.more_opts = opts  # type: ignore[misc]
        self.raw: Any = raw_client(moto_endpoint())
        await super().setUp()

    def move_off(self, path: Path) -> str:
        """Gives the key."""
        key = f"synapse/{path.relative_to(self.synapse_media)}"
        self.raw.put_object(Bucket=self.bucket, Key=key, Body=path.read_bytes())
        path.unlink()
        return key

    def keys(self) -> set[str]:
        found = self.raw.list_objects_v2(Bucket=self.bucket)
        return {item["Key"] for item in found["Contents"]}

    async def test_both_places_are_served_at_once_and_copied_later(self) -> None:
        self.add_local("AbCdHere", b"in the folder")
        keys = {self.move_off(self.add_local("AbCdGone", BIG))}
        keys.add(self.move_off(self.add_remote("remote", PHOTO)))
        contents = {
            (HOST, "AbCdHere"): b"in the folder",
            (HOST, "AbCdGone"): BIG,
            (REMOTE, "remote"): PHOTO,
        }
        code, out, said = await self.adopt()
        self.assertEqual((code, out, "registered: 3" in said), (0, "", True), said)
        await self.assert_served(contents)
        part = await self.fetch(HOST, "AbCdGone", headers={"Range": "bytes=5-14"})
        self.assertEqual((part.status, part.body), (206, BIG[5:15]))
        self.assertEqual(self.files(), [])
        self.assertEqual(await self.transfer(), "")
        await self.restart()
        await self.assert_served(contents)
        self.assertEqual(len(self.files()), 3)
        await self.server.sweep.delete_queued()
        self.assertEqual(self.keys(), keys)


class ForeignObjectTests(SynapseCase):
    """What is Synapse's is never relied on, and never deleted."""

    async def test_uploads_never_share_a_file_of_synapse(self) -> None:
        sha256 = hashlib.sha256(b"shared").hexdigest()
        self.add_local("AbCdOld", b"shared", sha256=sha256)
        await self.adopt()
        media_id = await self.upload(b"shared", "text/plain")
        self.assertEqual((await self.record(media_id)).datastore_id, "folder")
        # The very same upload again: its record gets bytes of our own.
        again = await self.upload(b"shared", "image/jpeg", "picture.jpg")
        self.assertEqual(again, "AbCdOld")
        self.assertEqual((await self.record(again)).datastore_id, "folder")
        shutil.rmtree(self.synapse_media)
        for each in (media_id, again):
            self.assertEqual((await self.download(each)).body, b"shared")

    async def test_a_purge_leaves_the_file_and_says_so(self) -> None:
        path = self.add_local("AbCdOld", b"old")
        await self.adopt()
        await self.admin("POST", f"/purge/{HOST}/AbCdOld")
        with self.assertLogs("mmr.datastores.synapse", "INFO") as logs:
            await self.server.sweep.delete_queued()
        self.assertIn("Left local_content/Ab/Cd/Old", logs.output[0])
        self.assertEqual(await self.count("mmr_object_deletes"), 0)
        self.assertEqual(path.read_bytes(), b"old")
        self.assertEqual((await self.fetch(HOST, "AbCdOld")).status, 404)
        # It stays purged.
        for flags in ([], ["--dry-run"]):
            _, _, said = await self.adopt(*flags)
            self.assertIn("known: 1", said)
        self.assertEqual(await self.count("media"), 0)

    async def test_quarantine_follows_the_content_once_it_is_known(self) -> None:
        """R86."""
        sha256 = hashlib.sha256(b"evil").hexdigest()
        self.add_local("AbCdTwin", b"evil")
        self.add_local("AbCdSafe", b"evil", safe_from_quarantine=True)
        await self.adopt()
        innocent = await self.upload(b"evil", "text/plain")
        self.add_local("AbCdEvil", b"evil", sha256=sha256, quarantined_by="system")
        await self.adopt()
        await self.restart()
        # Ours has the same known hash; the twin's isn't known yet.
        self.assertEqual((await self.download(innocent)).status, 404)
        self.assertEqual((await self.download("AbCdTwin")).status, 200)
        self.assertEqual(await self.transfer(), "")
        self.assertEqual((await self.download("AbCdTwin")).status, 404)
        self.assertEqual((await self.download("AbCdSafe")).status, 200)
        answer = await self.request(
            "POST", "/_matrix/media/v3/upload", body=b"evil", token="bob-token"
        )
        self.assertEqual(answer.status, 403)

    async def test_damage_is_named_and_the_rest_is_copied(self) -> None:
        """R102."""
        wrong = hashlib.sha256(b"something else").hexdigest()
        self.add_local("AbCdLost", None)
        self.add_local("AbCdTorn", b"tor", media_length=4)
        self.add_local("AbCdFlipped", b"flipped", sha256=wrong)
        self.add_local("AbCdGood", b"good")
        await self.adopt()
        with self.assertLogs("mmr.tasks.transfer", "ERROR") as logs:
            error = await self.transfer()
        self.assertIn("3 objects could not be moved", error)
        said = "\n".join(logs.output)
        for name in ("Lost", "Torn", "Flipped"):
            self.assertIn(f"local_content/Ab/Cd/{name}", said)
        self.assertEqual((await self.record("AbCdGood")).datastore_id, "folder")
        self.assertEqual(len(self.files()), 1)
        # Mended, they follow.
        self.write_file("local_content/Ab/Cd/Torn", b"torn")
        self.assertIn("2 objects could not be moved", await self.transfer())

    async def test_nothing_is_copied_into_it(self) -> None:
        path = f"{BASE}/datastores/folder/transfer_to/old"
        answer = await self.request("POST", path, token="admin-token")
        self.assertEqual(answer.status, 400)


class PostgresTests(AdoptTests):
    """The same on PostgreSQL."""

    engine = "postgres"


class PostgresForeignTests(ForeignObjectTests):
    """The same on PostgreSQL."""

    engine = "postgres"
