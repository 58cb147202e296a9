"""``mmr-fsck`` and ``mmr-s3-consistency-check``, run as programs beside a server."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import attrs

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from mmr.cli.fsck import check, parser
from mmr.datastores.base import DatastoreError
from mmr.storage.datastore_totals import DatastoreTotal
from mmr.storage.objects import ObjectName, stand_in_hash
from mmr.storage.registrations import Registration
from mmr.tasks.consistency import FolderListing

from tests.harness import HOST, jpeg
from tests.rest.admin.test_datastores import AdminDatastoreCase
from tests.rest.remote_case import RemoteCase

ROOT = Path(__file__).parents[2]


class CheckCase(AdminDatastoreCase):
    """A server with some media, and the programs to look at them."""

    timeout = 120

    async def run_program(self, module: str, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        out, err, code = await getProcessOutputAndValue(
            sys.executable,
            ["-m", f"mmr.cli.{module}", "-config", str(self.config_file), *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            path=str(self.folder),
            reactor=reactor,
        )
        return code, out.decode(), err.decode()

    async def fsck(self, *arguments: str) -> tuple[int, str, str]:
        return await self.run_program("fsck", *arguments)

    def stray(self) -> Path:
        """A file in the folder that no row names."""
        path = self.media_folder / "ab" / "cd" / "stray"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"stray")
        return path


class FsckTests(CheckCase):
    async def test_all_is_well(self) -> None:
        await self.upload(jpeg(400, 300), "image/jpeg")
        code, out, err = await self.fsck("-verify")
        self.assertEqual((code, out), (0, ""))
        self.assertIn("rows and objects agree", err)

    async def test_nothing_is_changed_unless_asked_for(self) -> None:
        lost = await self.upload(b"lost")
        path = await self.path_of(lost)
        path.unlink()
        stray = self.stray()
        code, out, err = await self.fsck()
        self.assertEqual(code, 1)
        self.assertEqual(
            sorted(line.split("\t")[0] for line in out.splitlines()),
            ["missing", "unreferenced"],
        )
        self.assertIn(f"mxc://{HOST}/{lost}", out)
        self.assertIn("our own users", err)
        self.assertTrue(stray.exists())
        self.assertEqual((await self.record(lost)).media_id, lost)

    async def test_unreferenced_objects_are_deleted_on_demand(self) -> None:
        media_id = await self.upload(b"kept")
        stray = self.stray()
        code, out, _ = await self.fsck("-deleteUnreferenced")
        self.assertEqual(code, 0)
        self.assertTrue(out.rstrip().endswith("deleted"))
        self.assertFalse(stray.exists())
        self.assertEqual((await self.download(media_id)).body, b"kept")

    async def test_a_dry_run_is_stronger_than_other_flags(self) -> None:
        stray = self.stray()
        code, out, _ = await self.fsck("-deleteUnreferenced", "--dry-run", "-refetch")
        self.assertEqual((code, out.split("\t")[0]), (1, "unreferenced"))
        self.assertTrue(stray.exists())

    async def fail_at(self, error: DatastoreError, media_id: str = "") -> None:
        """From now on an object can't be opened; or none can."""
        location = (await self.record(media_id)).location if media_id else ""
        store = self.server.datastores.get("folder")
        opened = store.open

        async def fails(where: str) -> Any:
            if location in ("", where):
                raise error
            return await opened(where)

        self.patch(store, "open", fails)

    async def test_what_cannot_be_read_is_named_and_the_rest_is_looked_at(
        self,
    ) -> None:
        """A disk with a bad block."""
        bad, lost = await self.upload(b"bad"), await self.upload(b"lost")
        (await self.path_of(lost)).unlink()
        await self.fail_at(DatastoreError("cannot read it"), bad)
        for flags in ([], ["-verify"], ["-refetch"]):
            out = io.StringIO()
            patch = self.patch(sys, "stdout", out)
            code = await check(self.server, parser().parse_args(flags))
            patch.restore()
            self.assertEqual(code, 1)
            found = {line.split("\t")[0] for line in out.getvalue().splitlines()}
            self.assertEqual(found, {"unreadable", "missing"})
            self.assertIn(f"mxc://{HOST}/{bad}", out.getvalue())

    async def test_a_store_that_is_away_ends_it(self) -> None:
        """As it is: the program tells that, and not where in our code it was."""
        await self.upload(b"data")
        await self.fail_at(DatastoreError("no answer", status=503))
        with self.assertRaisesRegex(DatastoreError, "no answer"):
            await check(self.server, parser().parse_args([]))

    async def test_what_the_server_deletes_meanwhile_is_no_matter(self) -> None:
        self.stray()
        gone = self.stray().with_name("stray2")
        gone.write_bytes(b"2")
        files = FolderListing(self.store, self.server.files)._files_below(
            str(self.media_folder)
        )
        self.assertEqual(next(files), ("ab/cd/stray", 5))
        gone.unlink()
        self.assertEqual(list(files), [])

    async def test_damage_is_found_by_size_and_by_hash(self) -> None:
        """R102."""
        short, flipped = await self.upload(b"0123456789"), await self.upload(b"abc")
        for media_id, data in ((short, b"012"), (flipped, b"abd")):
            path = await self.path_of(media_id)
            path.chmod(0o600)
            path.write_bytes(data)
        code, out, _ = await self.fsck()
        self.assertEqual(code, 1)
        self.assertEqual([out.split("\t")[0]], ["wrong size"])
        code, out, _ = await self.fsck("-verify")
        faults = {line.split("\t")[0] for line in out.splitlines()}
        self.assertEqual(faults, {"wrong size", "wrong hash"})

    async def test_quarantined_media_that_was_purged_is_no_loss(self) -> None:
        media_id = await self.upload(b"bad")
        await self.quarantine(media_id)
        (await self.path_of(media_id)).unlink()
        code, out, _ = await self.fsck()
        self.assertEqual((code, out.split("\t")[0]), (0, "purged"))

    async def test_lost_thumbnails_are_drawn_again(self) -> None:
        media_id = await self.upload(jpeg(900, 700), "image/jpeg")
        drawn = (await self.thumbnail(media_id)).body
        (path,) = set(self.files()) - {await self.path_of(media_id)}
        path.unlink()
        code, _, _ = await self.fsck("-refetch")
        self.assertEqual(code, 0)
        await self.stop_server()
        await self.start_server()
        self.assertEqual((await self.thumbnail(media_id)).body, drawn)

    async def test_a_mistake_is_told(self) -> None:
        code, _, err = await self.fsck("-datastoreId", "none")
        self.assertEqual(code, 2)
        self.assertIn("'none'", err)


class FsckOnPostgresTests(FsckTests):
    engine = "postgres"


class RefetchTests(RemoteCase):
    """R102: healed from the origin where there is one."""

    async def test_lost_and_damaged_remote_media_comes_back(self) -> None:
        content = os.urandom(5000)
        damages = {
            "lost": None,
            "short": content[:-1],
            "flipped": bytes([content[0] ^ 1]) + content[1:],
        }
        for media_id, damage in damages.items():
            self.reply_file(content + media_id.encode())
            await self.fetch(media_id)
            record = await self.remote_record(media_id)
            assert record is not None
            path = self.media_folder / record.location
            path.chmod(0o600)
            if damage is None:
                path.unlink()
            else:
                path.write_bytes(damage + media_id.encode())
            options = parser().parse_args(["-verify", "-refetch"])
            # The damaged file has no row any more.
            left = {"short": 1}.get(media_id, 0)
            self.assertEqual(await check(self.server, options), left)
            options.deleteUnreferenced = True
            self.assertEqual(await check(self.server, options), 0)
            answer = await self.fetch(media_id)
            self.assertEqual(answer.body, content + media_id.encode())
            self.assertEqual(await check(self.server, options), 0)

    async def test_what_was_taken_over_and_never_read_comes_back(self) -> None:
        """A Synapse's file is missing, and nobody knows its hash."""
        self.reply_file(b"content")
        await self.fetch()
        record = await self.remote_record()
        assert record is not None
        await self.server.db.interaction(
            "delete",
            self.server.stores.media.delete_media_txn,
            record.origin,
            record.media_id,
        )
        await self.server.sweep.delete_queued()
        name = ObjectName("folder", "remote_content/remote/ab/cd/ef")
        lost = attrs.evolve(
            record,
            sha256_hash=stand_in_hash(name),
            size_bytes=6,
            location=name.location,
        )
        registrations = self.server.stores.registrations
        await registrations.register([Registration(lost, False, 1)])
        options = parser().parse_args(["-refetch"])
        self.assertEqual(await check(self.server, options), 0)
        answer = await self.fetch()
        self.assertEqual(answer.body, b"content")
        healed = await self.remote_record()
        assert healed is not None
        self.assertEqual(healed.sha256_hash, record.sha256_hash)
        self.assertEqual(healed.size_bytes, 7)
        totals = await self.server.stores.datastores.get_totals()
        self.assertEqual(totals["folder"], DatastoreTotal(7, 1))

    async def test_what_its_origin_has_no_more_is_left(self) -> None:
        self.reply_file(b"content")
        await self.fetch()
        record = await self.remote_record()
        assert record is not None
        (self.media_folder / record.location).unlink()
        self.reply_with(404, b"{}")
        self.assertEqual(await check(self.server, parser().parse_args(["-refetch"])), 1)


class S3CheckTests(CheckCase):
    async def check(self, *more: str) -> tuple[int, str, str]:
        return await self.run_program(
            "s3_consistency_check", "-datastoreId", "bucket", *more
        )

    async def test_every_level_of_the_bucket_is_looked_at(self) -> None:
        await self.upload(b"data")
        task: Any = await self.transfer()
        self.assertEqual(task["error_message"], "")
        code, out, _ = await self.check()
        self.assertEqual(code, 0, out)
        for key in ("at-the-top", "ab/below"):
            self.raw.put_object(Bucket=self.bucket, Key=key, Body=b"12345")
        code, out, _ = await self.check("-outFile", str(self.folder / "keys"))
        self.assertEqual(code, 1)
        self.assertIn("2 objects, 10 bytes", out)
        self.assertEqual((self.folder / "keys").read_text(), "ab/below\nat-the-top\n")
        self.assertEqual(len(self.keys()), 3)
        code, again, _ = await self.check("-outFile", "unused", "--dry-run")
        self.assertEqual((code, again), (1, out.splitlines()[0] + "\n"))
        self.assertFalse((self.folder / "unused").exists())

    async def test_a_list_that_cannot_be_written_is_told(self) -> None:
        code, _, err = await self.check("-outFile", "nowhere/keys")
        told = "nowhere/keys can't be written: No such file or directory"
        self.assertEqual((code, told in err, "Traceback" in err), (2, True, False))

    async def test_fsck_looks_at_the_bucket_from_both_sides(self) -> None:
        media_id = await self.upload(b"data")
        await self.transfer()
        (key,) = self.keys()
        self.raw.delete_object(Bucket=self.bucket, Key=key)
        code, out, _ = await self.run_program("fsck", "-datastoreId", "bucket")
        self.assertEqual(code, 1)
        self.assertEqual(out.split("\t")[:3], ["missing", "bucket", key])
        self.assertIn(media_id, out)

    async def test_another_kind_of_datastore_is_refused(self) -> None:
        code, _, err = await self.run_program(
            "s3_consistency_check", "-datastoreId", "folder"
        )
        self.assertEqual((code, "not an S3 datastore" in err), (2, True))
