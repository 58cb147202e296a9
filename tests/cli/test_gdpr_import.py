"""``mmr-gdpr-import``, run as a program beside a server."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.archives.making import MANIFEST, Archive
from tests.cli.test_fsck import ROOT, CheckCase
from tests.datastores.s3_server import moto_endpoint
from tests.harness import BOB, HOST


class Program(ProcessProtocol):
    """A program that can be killed."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def processEnded(self, reason: Failure) -> None:  # type: ignore[override]
        self.ended.callback(None)


class ImportProgramTests(CheckCase):
    async def import_(self, *arguments: str) -> tuple[int, list[list[str]], str]:
        """Exit status, the lines of results by column, standard error."""
        code, out, err = await self.run_program("gdpr_import", *arguments)
        return code, [line.split("\t") for line in out.splitlines()], err

    @property
    def source(self) -> Path:
        return self.folder / "gdpr-data"

    def archive(self, count: int = 3) -> Archive:
        archive = Archive()
        for number in range(count):
            archive.add(f"m{number}", os.urandom(1000))
        return archive

    async def test_an_archive_comes_in(self) -> None:
        archive = self.archive()
        archive.write(self.source, 2)
        code, out, err = await self.import_()
        self.assertEqual((code, out), (0, []), err)
        self.assertIn("media: 3 of about 3 (100%)", err)
        self.assertIn("stored: 3\ntogether: 3 kB", err)
        for number, (_, data) in enumerate(archive.entries):
            self.assertEqual((await self.download(f"m{number}")).body, data)
        code, out, err = await self.import_()
        self.assertEqual((code, out), (0, []))
        self.assertIn("known: 3", err)

    async def test_flags_in_every_spelling(self) -> None:
        archive = self.archive()
        archive.add("bobs", b"bobs", uploader=BOB)
        to = archive.write(self.folder / "elsewhere")
        code, _, err = await self.import_(
            "--directory", str(to), "-onlyEntity", BOB, "-migrations=./migrations",
            "-verify=false", "--dry-run=false",
        )  # fmt: skip
        self.assertEqual(code, 0, err)
        self.assertIn("stored: 1\n", err)
        self.assertEqual(await self.count("media"), 1)

    async def test_verify_and_dry_run_change_nothing(self) -> None:
        self.archive().write(self.source)
        code, out, err = await self.import_("--dry-run")
        self.assertEqual((code, out), (0, []))
        self.assertIn("would be stored: 3", err)
        code, out, err = await self.import_("-verify")
        self.assertEqual(code, 1)
        self.assertEqual({line[0] for line in out}, {"missing"})
        self.assertIn("missing: 3", err)
        self.assertTrue(await self.is_empty())
        await self.import_()
        code, out, err = await self.import_("-verify")
        self.assertEqual((code, out), (0, []))
        self.assertIn("known: 3", err)

    async def test_what_is_not_imported_is_named_and_the_rest_goes_on(self) -> None:
        """Every kind of bad input at once."""
        archive = self.archive()
        archive.add("wrong", b"wrong", sha256="0" * 64)
        archive.add("lost", b"lost")
        archive.entries.pop()
        archive.add("eves", b"eves", uploader="@eve:far.example")
        archive.add("tab\there", b"", origin=HOST)
        archive.write(self.source)
        (self.source / "export-part-7.tgz").write_bytes(b"no archive")
        (self.source / "folder").mkdir()
        code, out, err = await self.import_()
        self.assertEqual(code, 1)
        self.assertEqual(
            sorted(line[:2] for line in out),
            [
                ["damaged", f"mxc://{HOST}/wrong"],
                ["missing", f"mxc://{HOST}/lost"],
                ["refused", f"mxc://{HOST}/eves"],
                ["refused", f"mxc://{HOST}/tab?here"],
                ["unreadable", "export-part-7.tgz"],
            ],
        )
        self.assertTrue(all(len(line) == 3 for line in out))
        self.assertIn("stored: 3", err)

    async def test_a_mistake_is_told(self) -> None:
        self.archive().write(self.source)
        (self.source / MANIFEST).unlink()
        code, out, err = await self.import_()
        self.assertEqual((code, out), (2, []))
        self.assertIn("no manifest.json", err)
        code, _, err = await self.import_("-directory", "nowhere")
        self.assertEqual(code, 2)
        self.assertIn("nowhere can't be read", err)
        code, _, err = await self.import_("-directory", str(self.source), "-wrong")
        self.assertEqual(code, 2)

    async def test_a_wrong_database_is_told(self) -> None:
        self.archive().write(self.source)
        wrong = self.folder / "wrong.yaml"
        wrong.write_text(
            "database: {postgres: 'postgres://mmr:secret@127.0.0.1:1/mmr'}\n"
        )
        wrong.chmod(0o600)
        code, _, err = await self.import_("-config", str(wrong))
        self.assertEqual(code, 2)
        self.assertIn("database", err)
        self.assertNotIn("secret", err)

    async def test_a_killed_run_is_gone_on_with(self) -> None:
        """R94: what it left is finished or swept, and nothing is lost."""
        archive = Archive()
        for number in range(3000):
            archive.add(f"m{number}", b"%d" % number * 500)
        archive.write(self.source, 3)
        program = Program()
        process = reactor.spawnProcess(  # type: ignore[attr-defined]
            program,
            sys.executable,
            [sys.executable, "-m", "mmr.cli.gdpr_import", "-config",
             str(self.config_file)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            path=str(self.folder),
        )  # fmt: skip

        async def has_begun() -> bool:
            return await self.count("media") > 100

        await self.eventually(has_begun, 60)
        process.signalProcess(signal.SIGKILL)
        await program.ended
        before = await self.count("media")
        self.assertLess(before, 3000)
        code, out, err = await self.import_()
        self.assertEqual((code, out), (0, []), err)
        self.assertIn(f"known: {before}\nstored: {3000 - before}\n", err)
        self.assertEqual(await self.count("media"), 3000)
        await self.server.sweep.sweep(-1)
        await self.server.sweep.delete_queued()
        await self.store.sweep_temporary(-1)
        self.assertEqual(await self.count("mmr_object_intents"), 0)
        self.assertEqual(len(self.files()), 3000)
        code, out, _ = await self.import_("-verify")
        self.assertEqual((code, out), (0, []))

    async def test_what_is_in_our_bucket_is_taken_over_where_it_is(self) -> None:
        """By its S3 URL; no byte is copied, and the hash is looked at."""
        ids = [await self.upload(b"in the bucket %d" % n) for n in range(3)]
        await self.transfer()
        records = [await self.record(media_id) for media_id in ids]
        archive = Archive()
        url = f"http://{moto_endpoint()}/{self.bucket}/"
        for number, record in enumerate(records):
            archive.add(
                f"moved{number}",
                b"in the bucket %d" % number,
                s3_url=url + record.location,
                sha256=record.sha256_hash if number != 1 else "0" * 64,
            )
        archive.media[f"mxc://{HOST}/moved2"]["s3_url"] = "https://else.where/b/x"
        archive.entries.clear()
        archive.write(self.source)
        await self.server.db.interaction(
            "forget", lambda txn: txn.execute("DELETE FROM media")
        )
        objects = sorted(self.keys())
        code, out, _ = await self.import_()
        self.assertEqual(code, 1)
        self.assertEqual(
            sorted(line[:2] for line in out),
            [
                ["damaged", f"mxc://{HOST}/moved1"],
                ["missing", f"mxc://{HOST}/moved2"],
            ],
        )
        self.assertEqual((await self.record("moved0")).location, records[0].location)
        self.assertEqual((await self.download("moved0")).body, b"in the bucket 0")
        self.assertEqual(sorted(self.keys()), objects)

    async def test_a_program_is_no_server(self) -> None:
        """Its tables are those of a server beside it, which notices nothing."""
        self.archive(300).write(self.source)
        running = Deferred.fromCoroutine(self.import_())
        answers = [await self.upload(b"%d" % n) for n in range(20)]
        code, _, err = await running
        self.assertEqual(code, 0, err)
        self.assertEqual(await self.count("media"), 320)
        self.assertEqual(len(set(answers)), 20)
        path = self.folder / "media_repo.db"
        if path.exists():
            with sqlite3.connect(path) as db:
                self.assertEqual(
                    db.execute("PRAGMA integrity_check").fetchone(), ("ok",)
                )
