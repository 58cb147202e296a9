"""Parts and whole archives, as `tarfile` and `gzip` read them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.archives.ending import Ending
from mmr.archives.folder import ArchiveWriter, FolderArchive, FolderInUse
from mmr.archives.index_page import readable_size, unix_date
from mmr.archives.manifest import MediaEntry
from mmr.archives.writer import EntryHead, PartEncoder, entry_name, part_name

from tests.archives.test_manifest import ENTRY

_NOW = 1_700_000_000_000


def members(data: bytes) -> list[tuple[str, bytes, tarfile.TarInfo]]:
    """What a part holds."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as part:
        found = []
        for info in part:
            file = part.extractfile(info)
            assert file is not None
            found.append((info.name, file.read(), info))
        return found


def media(number: int, data: bytes, **changes: Any) -> MediaEntry:
    """An entry for some bytes."""
    media_id = f"media{number}"
    entry = attrs.evolve(
        ENTRY,
        media_id=media_id,
        file_name=entry_name("example.org", media_id, ".png"),
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    return attrs.evolve(entry, **changes)


def test_names_are_those_of_mmr() -> None:
    assert part_name(1) == "export-part-1.tgz"
    assert entry_name("a.b:8448", "Xy_-", ".png") == "a.b:8448__Xy_-.png"


@given(st.lists(st.lists(st.binary(max_size=3000), max_size=3), max_size=5))
def test_a_part_holds_what_was_given_in_whatever_pieces(
    files: list[list[bytes]],
) -> None:
    encoder = PartEncoder("export-part-1.tgz")
    data = b""
    for number, pieces in enumerate(files):
        size = sum(map(len, pieces))
        data += encoder.encode([EntryHead(f"f{number}", size, 7), *pieces])
    data += encoder.close()
    found = members(data)
    assert [content for _, content, _ in found] == [b"".join(f) for f in files]
    assert len(gzip.decompress(data)) % tarfile.RECORDSIZE == 0
    assert (encoder.short, encoder.altered) == ([], [])


def test_an_entry_is_a_regular_file_with_its_time() -> None:
    encoder = PartEncoder("export-part-1.tgz")
    long = "x" * 200 + "__" + "y" * 255 + ".png"
    data = encoder.encode([EntryHead(long, 2, 1_700_000_000), b"ab"]) + encoder.close()
    ((name, content, info),) = members(data)
    assert (name, content) == (long, b"ab")
    assert (info.type, info.mode, info.mtime) == (
        tarfile.REGTYPE,
        0o644,
        1_700_000_000,
    )
    assert data[10:].startswith(b"export-part-1.tar\0")


def test_parts_are_the_same_each_time() -> None:
    def part() -> bytes:
        encoder = PartEncoder("export-part-3.tgz")
        return encoder.encode([EntryHead("a", 3, 5), b"abc"]) + encoder.close()

    assert part() == part()


def test_files_that_are_not_as_promised_are_named() -> None:
    """R102. The rest of the part stays readable."""
    encoder = PartEncoder("export-part-1.tgz")
    right = hashlib.sha256(b"abc").hexdigest()
    data = encoder.encode([EntryHead("short", 100_000, 0, right), b"abc"])
    data += encoder.encode([EntryHead("altered", 3, 0, right), b"abd"])
    data += encoder.encode([EntryHead("good", 3, 0, right), b"abc"])
    with pytest.raises(ValueError, match="more bytes"):
        encoder.encode([b"d"])
    data += encoder.close()
    assert (encoder.short, encoder.altered) == (["short"], ["altered"])
    short, altered, good = members(data)
    assert short[1] == b"abc" + bytes(100_000 - 3)
    assert (altered[1], good[1]) == (b"abd", b"abc")


def test_the_index_escapes_what_uploaders_wrote() -> None:
    ending = Ending("@a<b>:example.org", _NOW)
    entries = [
        media(1, b"x" * 1500, name="<script>alert(1)</script>&amp;"),
        media(2, b"", name="", file_name="evil:8448__a#b?c d"),
        media(3, b"", name='"\ud800'),
    ]
    ending.add(entries)
    (manifest, index) = members(b"".join(ending.encoded()))
    ending.close()
    assert (manifest[0], index[0]) == ("manifest.json", "index.html")
    assert len(json.loads(manifest[1])["media"]) == 3
    page = index[1].decode()
    assert "<title>@a&lt;b&gt;:example.org media export</title>" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;" in page
    assert "<script" not in page
    assert 'href="./evil%3A8448__a%23b%3Fc%20d"' in page
    assert "no name" in page
    assert "1.5 kB" in page
    assert "Tue Nov 14 22:13:20 UTC 2023" in page
    assert "mxc://example.org/media1" in page
    assert "http" not in page.replace("mxc:", "")


def test_an_export_without_media_has_a_manifest_and_an_index() -> None:
    ending = Ending("example.org", _NOW)
    manifest, _ = members(b"".join(ending.encoded()))
    ending.close()
    assert json.loads(manifest[1]) == {
        "version": 2,
        "entity_id": "example.org",
        "created_ts": _NOW,
        "media": {},
    }


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (82_854_982, "83 MB"),
        (999_999, "1.0 MB"),
        (2**63 - 1, "9.2 EB"),
        (10**24, "1000000 EB"),
    ],
)
def test_sizes_are_in_powers_of_1000(size: int, shown: str) -> None:
    assert readable_size(size) == shown


def test_dates_are_those_of_the_program_date() -> None:
    assert unix_date(0) == "Thu Jan  1 00:00:00 UTC 1970"
    assert unix_date(-5) == "Thu Jan  1 00:00:00 UTC 1970"
    assert unix_date(2**63).endswith("9999")


class Folders:
    """Archives in a folder, made with or without an interruption."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = {n: os.urandom(1000 + n) for n in range(7)}

    def open(self, entity: str = "example.org", **options: Any) -> FolderArchive:
        return FolderArchive(self.folder, entity, _NOW, **options)

    def fill(self, archive: FolderArchive, stop_after: int = 99) -> ArchiveWriter:
        writer = ArchiveWriter(archive, 2500)
        begin = archive.state.place.get("next", 0)
        for number in range(begin, len(self.data)):
            if number == stop_after:
                return writer
            data = self.data[number]
            assert writer.add(
                media(number, data), [data[:10], data[10:]], {"next": number + 1}
            )
        writer.finish({})
        return writer

    def whole(self) -> dict[str, bytes]:
        found = {}
        for path in sorted(self.folder.iterdir()):
            for name, content, _ in members(path.read_bytes()):
                assert name not in found
                found[name] = content
        return found

    def check_whole(self) -> None:
        found = self.whole()
        listed = json.loads(found.pop("manifest.json"))["media"]
        found.pop("index.html")
        expected = {media(n, d).file_name: d for n, d in self.data.items()}
        assert found == expected
        assert [record["file_name"] for record in listed.values()] == list(expected)


@pytest.fixture(name="case")
def _case(tmp_path: Path) -> Folders:
    return Folders(tmp_path / "export")


def test_a_folder_gets_parts_of_the_wanted_size_and_the_manifest_last(
    case: Folders,
) -> None:
    case.fill(case.open())
    names = sorted(path.name for path in case.folder.iterdir())
    assert names == [
        "export-manifest.tgz",
        "export-part-1.tgz",
        "export-part-2.tgz",
        "export-part-3.tgz",
    ]
    case.check_whole()


def test_a_folder_without_media_has_an_empty_part(case: Folders) -> None:
    case.data = {}
    case.fill(case.open())
    assert members((case.folder / "export-part-1.tgz").read_bytes()) == []
    case.check_whole()


@pytest.mark.parametrize("stop_after", range(8))
def test_a_broken_off_run_is_gone_on_with(case: Folders, stop_after: int) -> None:
    archive = case.open()
    case.fill(archive, stop_after)
    archive.close()
    if stop_after < 7:
        assert not (case.folder / "export-manifest.tgz").exists()
        archive = case.open()
        assert archive.is_continued
        case.fill(archive)
    case.check_whole()


def test_parts_of_an_earlier_export_are_replaced(case: Folders) -> None:
    case.fill(case.open())
    (case.folder / "notes.txt").write_text("not ours")
    del case.data[6], case.data[5], case.data[4], case.data[3]
    case.fill(case.open())
    (case.folder / "notes.txt").unlink()
    case.check_whole()
    assert not (case.folder / "export-part-3.tgz").exists()


def test_the_export_of_another_is_not_mixed_in(case: Folders) -> None:
    archive = case.open()
    case.fill(archive, 5)
    with pytest.raises(FolderInUse, match="another program"):
        case.open()
    archive.close()
    with pytest.raises(FolderInUse, match=r"unfinished export of example\.org"):
        case.open("@alice:example.org")
    case.fill(case.open("@alice:example.org", restart=True))
    found = json.loads(case.whole()["manifest.json"])
    assert (found["entity_id"], len(found["media"])) == ("@alice:example.org", 7)


def test_a_damaged_state_is_told(case: Folders) -> None:
    archive = case.open()
    case.fill(archive, 5)
    archive.close()
    (case.folder / ".unfinished-export" / "state.json").write_text("{")
    with pytest.raises(FolderInUse, match="can't be read"):
        case.open()
    case.fill(case.open(restart=True))
    case.check_whole()


def test_a_file_that_is_shorter_than_promised_is_not_listed(case: Folders) -> None:
    writer = ArchiveWriter(case.open(), 10**6)
    assert not writer.add(media(1, b"abcdef"), [b"abc"], {})
    assert writer.add(media(2, b"abcdef"), [b"abcdef"], {})
    writer.finish({})
    listed = json.loads(case.whole()["manifest.json"])["media"]
    assert list(listed) == ["mxc://example.org/media2"]
