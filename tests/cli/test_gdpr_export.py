"""``mmr-gdpr-export``, run as a program beside a server."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import yaml

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.cli.test_fsck import ROOT, CheckCase
from tests.datastores.s3_server import moto_endpoint
from tests.harness import ALICE, HOST
from tests.rest.admin.export_case import unpacked


class Program(ProcessProtocol):
    """A program that can be killed."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def processEnded(self, reason: Failure) -> None:  # type: ignore[override]
        self.ended.callback(None)


class ExportProgramTests(CheckCase):
    """With a part for each file."""

    part_bytes = 1000

    def write_config(self, cs_api: str) -> None:
        super().write_config(cs_api)
        settings = yaml.safe_load(self.config_file.read_text())
        settings["archiving"] = {"targetBytesPerPart": self.part_bytes}
        self.config_file.write_text(yaml.safe_dump(settings))

    @property
    def destination(self) -> Path:
        return self.folder / "gdpr-data"

    async def export(
        self, *arguments: str, entity: str = ALICE
    ) -> tuple[int, str, str]:
        return await self.run_program("gdpr_export", "-entity", entity, *arguments)

    async def fill(self, count: int = 3) -> dict[str, bytes]:
        files = {}
        for _ in range(count):
            data = os.urandom(1000)
            files[await self.upload(data)] = data
        return files

    def check(self, expected: dict[str, bytes]) -> dict[str, Any]:
        """The folder holds these media and nothing else; gives the manifest."""
        found: dict[str, bytes] = {}
        for path in self.destination.iterdir():
            found |= unpacked(path.read_bytes())
        manifest: dict[str, Any] = json.loads(found.pop("manifest.json"))
        found.pop("index.html")
        self.assertEqual(sorted(found.values()), sorted(expected.values()))
        listed = {each["media_id"]: each for each in manifest["media"].values()}
        self.assertEqual(set(listed), set(expected))
        for media_id, each in listed.items():
            self.assertEqual(found[each["file_name"]], expected[media_id])
        return manifest

    async def test_a_users_media_goes_into_a_folder(self) -> None:
        files = await self.fill()
        await self.upload(b"bob's", token="bob-token")
        code, out, err = await self.export()
        self.assertEqual((code, out), (0, ""), err)
        manifest = self.check(files)
        self.assertEqual(manifest["entity_id"], ALICE)
        self.assertIn("media: 3 of about 3 (100%)", err)
        self.assertIn("exported: 3", err)
        self.assertIn(f"together: 3 kB; the export of {ALICE} is in gdpr-data", err)
        self.assertEqual(
            sorted(path.name for path in self.destination.iterdir()),
            ["export-manifest.tgz", *(f"export-part-{n}.tgz" for n in (1, 2, 3))],
        )

    async def test_a_servers_media_with_its_s3_urls(self) -> None:
        """Flags in every spelling."""
        media_id = await self.upload(b"data", token="bob-token")
        await self.transfer()
        to = self.folder / "elsewhere"
        code, _, err = await self.run_program(
            "gdpr_export", f"--entity={HOST}", "--destination", str(to),
            "-migrations=./migrations", "-templates", "./templates", "-restart=false",
        )  # fmt: skip
        self.assertEqual(code, 0, err)
        manifest = json.loads(
            unpacked((to / "export-manifest.tgz").read_bytes())["manifest.json"]
        )
        location = (await self.record(media_id)).location
        (each,) = manifest["media"].values()
        self.assertEqual(
            each["s3_url"], f"http://{moto_endpoint()}/{self.bucket}/{location}"
        )

    async def test_a_dry_run_writes_nothing(self) -> None:
        await self.fill()
        code, out, err = await self.export("--dry-run")
        self.assertEqual((code, out), (0, ""))
        self.assertIn("would be exported: 3 files, together 3 kB", err)
        self.assertFalse(self.destination.exists())

    async def test_what_cannot_be_exported_is_named_and_the_rest_goes_on(self) -> None:
        """R84, R102."""
        files = await self.fill(4)
        lost, bad, wrong, good = files
        (await self.path_of(lost)).unlink()
        await self.quarantine(bad)
        path = await self.path_of(wrong)
        path.chmod(0o600)
        path.write_bytes(bytes(1000))
        code, out, err = await self.export()
        self.assertEqual(code, 1)
        self.assertEqual(
            sorted(line.split("\t")[:2] for line in out.splitlines()),
            [
                ["damaged", f"mxc://{HOST}/{wrong}"],
                ["failed", f"mxc://{HOST}/{lost}"],
                ["quarantined", f"mxc://{HOST}/{bad}"],
            ],
        )
        self.assertIn("failed: 1\ndamaged: 1\n", err)
        self.check({wrong: bytes(1000), good: files[good]})

    async def test_quarantined_media_alone_is_no_failure(self) -> None:
        (bad,) = await self.fill(1)
        await self.quarantine(bad)
        code, out, _ = await self.export()
        self.assertEqual(code, 0)
        self.assertTrue(out.startswith("quarantined\t"))
        self.check({})

    async def test_a_killed_run_is_gone_on_with(self) -> None:
        files = await self.fill(200)
        program = Program()
        process = reactor.spawnProcess(  # type: ignore[attr-defined]
            program,
            sys.executable,
            [sys.executable, "-m", "mmr.cli.gdpr_export", "-entity", ALICE,
             "-config", str(self.config_file)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            path=str(self.folder),
        )  # fmt: skip
        parts = self.destination.glob
        await self.eventually(lambda: len(list(parts("export-part-*"))) > 2, 30)
        process.signalProcess(signal.SIGKILL)
        await program.ended
        self.assertFalse((self.destination / "export-manifest.tgz").exists())
        before = {path: path.stat().st_mtime_ns for path in parts("export-part-*")}
        code, _, err = await self.export(entity="@bob:media.example")
        self.assertEqual(code, 2)
        self.assertIn(f"an unfinished export of {ALICE}. -restart begins anew", err)
        code, _, err = await self.export()
        self.assertEqual(code, 0, err)
        self.assertIn("going on with an unfinished export", err)
        self.assertIn("exported: 200", err)
        self.check(files)
        kept = [path.stat().st_mtime_ns == mtime for path, mtime in before.items()]
        self.assertGreaterEqual(sum(kept), len(kept) - 1)

    async def test_a_finished_export_is_replaced(self) -> None:
        files = await self.fill(3)
        self.assertEqual((await self.export())[0], 0)
        media_id = next(iter(files))
        await self.request(
            "POST",
            f"/_matrix/media/unstable/admin/purge/{HOST}/{media_id}",
            token="admin-token",
        )
        del files[media_id]
        self.assertEqual((await self.export())[0], 0)
        self.check(files)

    async def test_mistakes_are_told(self) -> None:
        for arguments, text in (
            ((), "-entity"),
            (("-entity", ""), "neither a user id nor a server name"),
            (("-entity", "@alice"), "neither a user id nor a server name"),
            (("-entity", HOST, "-unknown"), "-unknown"),
        ):
            code, _, err = await self.run_program("gdpr_export", *arguments)
            self.assertEqual(code, 2)
            self.assertIn(text, err)
        (self.folder / "file").write_text("")
        code, _, err = await self.export("-destination", "file/below")
        self.assertEqual(code, 2)
        self.assertIn("Not a directory", err)

    async def test_help_shows_examples(self) -> None:
        code, out, _ = await self.run_program("gdpr_export", "-help")
        self.assertEqual(code, 0)
        self.assertIn("mmr-gdpr-export -config media-repo.yaml -entity", out)
        self.assertIn("exit status: 0", out)
