"""Archives in a folder, on both engines: what comes in, and what is named instead."""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any, ClassVar

from mmr.archives import part_process
from mmr.archives.catalogue import State
from mmr.errors import MatrixError, StartupError
from mmr.tasks import archive_import
from mmr.tasks.archive_checks import DryKeeper, Verification
from mmr.tasks.archive_import import ArchiveImport, Keeper
from mmr.tasks.archive_judge import Judge
from mmr.tasks.archive_records import ArchiveRecords, Problem
from mmr.tasks.folder_import import FolderImport

from tests.archives.making import MANIFEST, WHEN, Archive, part
from tests.harness import ALICE, BOB, HOST, ServerCase

LARGE = os.urandom(700_000)
FAR = "far.example"


class Outcome:
    """What one import said."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.tally: dict[str, int] = {}
        self.advanced = 0
        self.missing = 0

    def words(self) -> list[tuple[str, str]]:
        return [(problem.word, problem.what) for problem in self.problems]

    def of(self, word: str) -> list[str]:
        return [problem.what for problem in self.problems if problem.word == word]

    def detail(self, what: str) -> str:
        [found] = [each.detail for each in self.problems if each.what == what]
        return found

    def advance(self, count: int) -> None:
        self.advanced += count


class ImportCase(ServerCase):
    __test__: ClassVar[bool] = False

    async def import_from(
        self, folder: Path, *, only: str = "", how: str = "import"
    ) -> Outcome:
        server, outcome = self.server, Outcome()
        check = Verification(server.datastores, server.files).check
        records = ArchiveRecords(
            media=server.stores.media,
            threads=server.files,
            make_judge=lambda header: Judge(
                header, lambda: server.config, server.clock, only
            ),
            tell=outcome.problems.append,
            advance=outcome.advance,
            check=check if how == "verify" else None,
        )
        keeper: Keeper = DryKeeper(server.files) if how == "dry" else server.adoptions
        importer = ArchiveImport(records, keeper, server.datastores, server.files)
        run = FolderImport(folder, records, importer, server.files)
        try:
            await run.find_manifest()
            await records.sort_out()
            if how != "verify":
                await run.read_parts()
            await records.tell_missing()
            outcome.tally = dict(records.tally)
            outcome.missing = await records.count(State.WANTED)
        finally:
            await importer.rest()
            await records.close()
        return outcome

    async def import_archive(self, archive: Archive, **options: Any) -> Outcome:
        """Import it from a folder of its own."""
        folder = Path(self.mktemp())
        return await self.import_from(archive.write(folder), **options)


class ArchiveCases(ImportCase):
    async def test_media_comes_in_as_it_was(self) -> None:
        """With id, uploader, name, type and time, small and large."""
        archive = Archive()
        archive.add("small", b"small", name="a ☃ name", content_type="image/png")
        archive.add("large", LARGE)
        outcome = await self.import_archive(archive)
        self.assertEqual(outcome.tally, {"stored": 2})
        self.assertEqual(outcome.problems, [])
        for media_id, data in (("small", b"small"), ("large", LARGE)):
            self.assertEqual((await self.download(media_id)).body, data)
        record = await self.record("small")
        self.assertEqual(record.upload_name, "a ☃ name")
        self.assertEqual(record.content_type, "image/png")
        self.assertEqual(record.user_id, ALICE)
        self.assertEqual(record.creation_ts, WHEN)

    async def test_many_media_in_many_parts(self) -> None:
        archive = Archive()
        contents = {f"m{n}": b"content %d" % n * (n % 7) for n in range(400)}
        for media_id, data in contents.items():
            archive.add(media_id, data)
        folder = archive.write(Path(self.mktemp()), 11)
        outcome = await self.import_from(folder)
        self.assertEqual(outcome.tally, {"stored": 400})
        self.assertEqual(outcome.advanced, 400)
        for media_id, data in list(contents.items())[::23]:
            self.assertEqual((await self.download(media_id)).body, data)

    async def test_the_manifest_may_be_in_any_part(self) -> None:
        """MMR 1.2 put it first, and called entries .obj."""
        archive = Archive()
        archive.add("one", b"1", file_name="one.obj")
        archive.add("two", b"2", file_name="two.obj")
        folder = archive.write(Path(self.mktemp()))
        (folder / MANIFEST).unlink()
        first = part([("manifest.json", archive.manifest()), *archive.entries[:1]])
        (folder / "export-part-1.tgz").write_bytes(first)
        (folder / "export-part-2.tgz").write_bytes(part(archive.entries[1:]))
        self.assertEqual((await self.import_from(folder)).tally, {"stored": 2})

    async def test_a_manifest_of_version_1(self) -> None:
        """It names the user once, for all media."""
        archive = Archive(ALICE, version=1)
        archive.add("one", b"1", uploader="")
        outcome = await self.import_archive(archive)
        self.assertEqual(outcome.tally, {"stored": 1})
        self.assertEqual((await self.record("one")).user_id, ALICE)

    async def test_a_second_run_finds_it_all_here(self) -> None:
        archive = Archive()
        for number in range(20):
            archive.add(f"m{number}", b"%d" % number)
        await self.import_archive(archive)
        again = await self.import_archive(archive)
        self.assertEqual(again.tally, {"known": 20})
        self.assertEqual(again.problems, [])
        self.assertEqual(await self.count("media"), 20)
        self.assertEqual(len(self.files()), 20)

    async def test_duplicates_keep_their_ids(self) -> None:
        """The same bytes in several entries, and one entry for several ids."""
        for data in (b"twin", LARGE):
            size = len(data)
            archive = Archive()
            archive.add(f"a{size}", data)
            archive.add(f"b{size}", data)
            archive.add(f"c{size}", data, file_name=f"{HOST}__a{size}.txt")
            archive.entries.pop()
            outcome = await self.import_archive(archive)
            self.assertEqual(outcome.tally, {"stored": 3})
            for name in ("a", "b", "c"):
                self.assertEqual((await self.download(f"{name}{size}")).body, data)
        await self.server.sweep.delete_queued()
        self.assertEqual(len(self.files()), 2)

    async def test_an_entry_that_comes_twice_is_taken_once(self) -> None:
        archive = Archive()
        archive.add("one", b"1")
        archive.entries *= 2
        self.assertEqual((await self.import_archive(archive)).tally, {"stored": 1})

    async def test_media_of_other_servers(self) -> None:
        archive = Archive(FAR)
        archive.add("abc", b"far", origin=FAR, uploader="")
        archive.add("def", b"of theirs", origin=FAR, uploader=f"@them:{FAR}")
        outcome = await self.import_archive(archive)
        self.assertEqual(outcome.tally, {"stored": 2})
        answer = await self.get(
            f"/_matrix/client/v1/media/download/{FAR}/abc?allow_remote=false"
        )
        self.assertEqual(answer.body, b"far")

    async def test_uploaders_are_believed_of_their_own_server_only(self) -> None:
        """mmr-storage §5.3."""
        archive = Archive()
        archive.add("none", b"1", uploader="")
        archive.add("nonsense", b"2", uploader="alice")
        archive.add("foreign", b"3", uploader=f"@eve:{FAR}")
        outcome = await self.import_archive(archive)
        self.assertEqual(outcome.words(), [("refused", f"mxc://{HOST}/foreign")])
        self.assertEqual((await self.record("none")).user_id, "")
        self.assertEqual((await self.record("nonsense")).user_id, "")
        self.assertEqual(await self.count("media"), 2)

    async def test_only_one_user_or_server(self) -> None:
        archive = Archive()
        archive.add("alices", b"1")
        archive.add("bobs", b"2", uploader=BOB)
        archive.add("far", b"3", origin=FAR, uploader="")
        outcome = await self.import_archive(archive, only=BOB)
        self.assertEqual((outcome.tally, outcome.problems), ({"stored": 1}, []))
        self.assertEqual(outcome.advanced, 3)
        self.assertEqual((await self.download("bobs")).body, b"2")
        outcome = await self.import_archive(archive, only=HOST)
        self.assertEqual(outcome.tally, {"stored": 1, "known": 1})
        self.assertEqual(await self.count("media"), 2)

    async def test_records_that_cannot_be_are_named(self) -> None:
        """R70, R77."""
        archive = Archive()
        archive.add("good", b"good")
        bad = archive.add("bad", b"bad")
        archive.media[f"mxc://{HOST}/../../etc"] = {**bad, "media_id": "../../etc"}
        archive.media[f"mxc://{HOST}/other"] = bad
        outcome = await self.import_archive(archive)
        self.assertEqual(
            sorted(outcome.of("refused")),
            [f"mxc://{HOST}/../../etc", f"mxc://{HOST}/other"],
        )
        self.assertEqual(outcome.tally["stored"], 2)

    async def test_names_of_entries_lead_nowhere(self) -> None:
        """R77: path tricks: as keys they are as good as any other."""
        names = ["../../../tmp/x", "/etc/passwd", "a/../../b", "\\\\x\\y", ".mmr-tmp/x"]
        archive = Archive()
        for number, name in enumerate(names):
            archive.add(f"m{number}", b"%d" % number, file_name=name)
        before = {path for path in self.folder.rglob("*") if path.is_file()}
        outcome = await self.import_archive(archive)
        self.assertEqual(outcome.tally, {"stored": 5})
        after = {path for path in self.folder.rglob("*") if path.is_file()}
        new = {path for path in after - before if self.media_folder in path.parents}
        self.assertEqual(len(new), 5)
        self.assertNotIn("x", os.listdir("/tmp"))
        for path in new:
            self.assertRegex(
                str(path.relative_to(self.media_folder)), r"\A[0-9a-f/]+idv2fmt\Z"
            )

    async def test_other_bytes_than_listed_are_not_imported(self) -> None:
        """Wrong hashes and sizes: named, the rest goes on."""
        for data in (b"data", LARGE):
            size = len(data)
            archive = Archive()
            archive.add(f"hash{size}", data, sha256="0" * 64)
            archive.add(f"size{size}", data, size_bytes=size + 1)
            archive.add(f"good{size}", data + b"!")
            outcome = await self.import_archive(archive)
            self.assertEqual(
                sorted(outcome.of("damaged")),
                [f"mxc://{HOST}/hash{size}", f"mxc://{HOST}/size{size}"],
            )
            self.assertEqual(outcome.tally["stored"], 1)
            self.assertEqual(outcome.of("missing"), [])
        self.assertEqual(len(self.files()), 2)

    async def test_a_whole_copy_counts_more_than_a_damaged_one(self) -> None:
        archive = Archive()
        archive.add("one", b"whole")
        archive.entries.insert(0, (archive.entries[0][0], b"wrong"))
        folder = archive.write(Path(self.mktemp()), 2)
        outcome = await self.import_from(folder)
        self.assertEqual(outcome.tally, {"damaged": 1, "stored": 1})
        self.assertEqual(outcome.missing, 0)
        self.assertEqual((await self.download("one")).body, b"whole")

    async def test_what_no_part_holds_is_named(self) -> None:
        archive = Archive()
        archive.add("here", b"1")
        archive.add("gone", b"2")
        archive.entries.pop()
        outcome = await self.import_archive(archive)
        self.assertEqual(outcome.words(), [("missing", f"mxc://{HOST}/gone")])
        self.assertIn(f"{HOST}__gone.txt", outcome.detail(f"mxc://{HOST}/gone"))

    async def test_a_bad_part_is_named_and_the_others_are_read(self) -> None:
        """Corrupt, truncated, no gzip at all, unreadable."""
        archive = Archive()
        for number in range(40):
            archive.add(f"m{number}", os.urandom(20_000))
        folder = archive.write(Path(self.mktemp()), 4)
        one, two, three = (folder / f"export-part-{n}.tgz" for n in (1, 2, 3))
        one.write_bytes(one.read_bytes()[:150_000])
        damaged = bytearray(two.read_bytes())
        damaged[100_000:100_100] = bytes(100)
        two.write_bytes(damaged)
        three.write_bytes(b"no archive")
        outcome = await self.import_from(folder)
        names = ["export-part-1.tgz", "export-part-2.tgz", "export-part-3.tgz"]
        self.assertEqual(outcome.of("unreadable"), names)
        self.assertIn("early", outcome.detail(names[0]))
        # All of the fourth, and what came whole before the damage.
        self.assertGreaterEqual(outcome.tally["stored"], 16)
        self.assertEqual(outcome.tally["stored"] + outcome.tally["missing"], 40)

    async def test_a_file_that_cannot_be_opened_is_named(self) -> None:
        archive = Archive()
        archive.add("one", b"1")
        folder = archive.write(Path(self.mktemp()))
        (folder / "export-part-2.tgz").symlink_to("nowhere")
        outcome = await self.import_from(folder)
        self.assertEqual(outcome.words(), [("unreadable", "export-part-2.tgz")])
        self.assertEqual(outcome.tally["stored"], 1)

    async def test_a_large_file_that_is_cut_leaves_nothing(self) -> None:
        archive = Archive()
        archive.add("first", b"first")
        archive.add("large", LARGE)
        folder = archive.write(Path(self.mktemp()))
        path = folder / "export-part-1.tgz"
        path.write_bytes(path.read_bytes()[:500_000])
        outcome = await self.import_from(folder)
        self.assertEqual(outcome.of("missing"), [f"mxc://{HOST}/large"])
        self.assertEqual(outcome.of("unreadable"), ["export-part-1.tgz"])
        self.assertEqual((await self.download("first")).body, b"first")
        self.assertEqual(len(self.files()), 1)

    async def test_links_in_a_part_are_named(self) -> None:
        """R77."""
        archive = Archive()
        archive.add("link", b"", file_name="link")
        folder = archive.write(Path(self.mktemp()))
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as file:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            file.addfile(info)
        (folder / "export-part-1.tgz").write_bytes(out.getvalue())
        outcome = await self.import_from(folder)
        self.assertEqual(
            outcome.words(), [("refused", "link"), ("missing", f"mxc://{HOST}/link")]
        )

    async def test_an_id_with_other_content_stays_as_it_is(self) -> None:
        media_id = await self.upload(b"mine")
        archive = Archive()
        archive.add(media_id, b"theirs")
        outcome = await self.import_archive(archive)
        self.assertEqual(outcome.of("conflict"), [f"mxc://{HOST}/{media_id}"])
        self.assertEqual((await self.download(media_id)).body, b"mine")

    async def test_quarantined_content_stays_out(self) -> None:
        """R86."""
        await self.quarantine(await self.upload(b"bad"))
        archive = Archive()
        archive.add("again", b"bad")
        archive.add("good", b"good")
        outcome = await self.import_archive(archive)
        self.assertEqual(outcome.of("refused"), [f"mxc://{HOST}/again"])
        self.assertEqual(outcome.tally["stored"], 1)

    async def test_no_manifest(self) -> None:
        archive = Archive()
        archive.add("one", b"1")
        folder = archive.write(Path(self.mktemp()))
        (folder / MANIFEST).write_bytes(archive.manifest_part()[:50])
        with self.assertRaisesRegex(StartupError, "no manifest.json.*\n.*early"):
            await self.import_from(folder)
        (folder / MANIFEST).unlink()
        with self.assertRaisesRegex(StartupError, "no manifest.json"):
            await self.import_from(folder)
        with self.assertRaisesRegex(StartupError, "can't be read"):
            await self.import_from(folder / "nowhere")

    async def test_a_manifest_that_cannot_be_used(self) -> None:
        for head in ({"version": 3}, {"entity_id": ""}, {"version": "2"}):
            archive = Archive()
            archive.add("one", b"1")
            archive.head.update(head)
            with self.assertRaisesRegex(StartupError, "the manifest"):
                await self.import_archive(archive)
        self.assertEqual(await self.count("media"), 0)

    async def test_a_manifest_that_is_too_long_is_not_kept(self) -> None:
        """R77."""
        self.patch(archive_import, "MAX_MANIFEST_BYTES", 1000)
        archive = Archive()
        for number in range(20):
            archive.add(f"m{number}", b"1")
        with self.assertRaisesRegex(StartupError, "longer than 1000 bytes"):
            await self.import_archive(archive)

    async def test_a_dry_run_reads_everything_and_keeps_nothing(self) -> None:
        archive = Archive()
        archive.add("one", b"1")
        archive.add("large", LARGE)
        archive.add("wrong", b"2", sha256="0" * 64)
        archive.add("wrong2", LARGE, sha256="0" * 64)
        outcome = await self.import_archive(archive, how="dry")
        self.assertEqual(outcome.tally, {"stored": 2, "damaged": 2})
        self.assertTrue(await self.is_empty())

    async def test_verifying_compares_what_is_here(self) -> None:
        archive = Archive()
        for name in ("good", "gone", "changed", "lost"):
            archive.add(name, name.encode() * 10)
        await self.import_archive(archive)
        self.assertEqual(
            (await self.import_archive(archive, how="verify")).tally, {"known": 4}
        )
        record = await self.record("gone")
        delete = self.server.stores.media.delete_media_txn
        await self.server.db.interaction("d", delete, record.origin, "gone")
        (await self.path_of("lost")).unlink()
        (await self.path_of("changed")).write_bytes(b"CHANGED" * 10)
        outcome = await self.import_archive(archive, how="verify")
        self.assertEqual(
            sorted(outcome.words()),
            [
                ("damaged", f"mxc://{HOST}/changed"),
                ("damaged", f"mxc://{HOST}/lost"),
                ("missing", f"mxc://{HOST}/gone"),
            ],
        )
        self.assertEqual(await self.count("media"), 3)

    async def test_no_database_ends_it(self) -> None:
        archive = Archive()
        for number in range(300):
            archive.add(f"m{number}", b"%d" % number)
        for number in range(3):
            archive.add(f"l{number}", LARGE + b"%d" % number)

        async def away(*_: object, **__: object) -> None:
            raise MatrixError(503, "M_UNKNOWN", "The database does not answer.")

        patch = self.patch(self.server.adoptions, "_keep_small", away)
        with self.assertRaisesRegex(MatrixError, "does not answer"):
            await self.import_archive(archive)
        patch.restore()
        self.assertEqual((await self.import_archive(archive)).missing, 0)

    async def test_memory_holds_no_more_than_some_batches(self) -> None:
        """However large a part and its files are."""
        archive = Archive()
        for number in range(40):
            archive.add(f"s{number}", os.urandom(200_000))
        for number in range(4):
            archive.add(f"l{number}", os.urandom(5_000_000))
        folder = archive.write(Path(self.mktemp()))
        del archive
        tracemalloc.start()
        outcome = await self.import_from(folder, how="dry")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        self.assertEqual(outcome.tally, {"stored": 44})
        self.assertLess(peak, 20_000_000)


class ArchivesOnSqlite(ArchiveCases):
    __test__ = True


class ArchivesOnPostgres(ArchiveCases):
    __test__ = True
    engine = "postgres"


class LimitCases(ImportCase):
    __test__ = True
    config: ClassVar[dict[str, Any]] = {
        "uploads": {
            "minBytes": 0,
            "minFreeBytes": 0,
            "maxBytes": 1000,
            "quotas": {"enabled": True, "users": [{"glob": "@*", "maxFiles": 1}]},
        },
        "downloads": {"maxBytes": 2000},
    }

    async def test_files_are_bounded_as_uploads_and_fetches_are(self) -> None:
        """R77; quotas don't count."""
        archive = Archive()
        archive.add("a", b"x" * 1000)
        archive.add("b", b"y" * 1001)
        archive.add("c", b"z" * 1001, origin=FAR, uploader="")
        archive.add("d", b"z" * 2001, origin=FAR, uploader="")
        outcome = await self.import_archive(archive)
        self.assertEqual(
            sorted(outcome.of("refused")), [f"mxc://{FAR}/d", f"mxc://{HOST}/b"]
        )
        self.assertIn("1000 bytes", outcome.detail(f"mxc://{HOST}/b"))
        self.assertEqual(outcome.tally["stored"], 2)

    async def test_too_many_entries(self) -> None:
        """R77: a million members."""
        code = (
            "from mmr.archives import part_worker, reader;"
            "reader.MAX_ENTRIES = 5; part_worker.main()"
        )
        self.patch(part_process, "_COMMAND", (sys.executable, "-c", code))
        archive = Archive()
        for number in range(10):
            archive.add(f"m{number}", b"%d" % number)
        outcome = await self.import_archive(archive)
        self.assertIn("more than 5 entries", outcome.detail("export-part-1.tgz"))
        self.assertEqual(outcome.tally["stored"], 5)
