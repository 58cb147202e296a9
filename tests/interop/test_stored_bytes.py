"""Many files of a media folder read at once; what can't be is left for later."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import pytest

from mmr.interop.media_folder import MediaFolder
from mmr.interop.stored_bytes import StoredBytes
from mmr.interop.synapse_store import UnsafeName
from mmr.types import Mxc


@attrs.frozen
class Row:
    """One media, as its row describes it."""

    name: str
    size_bytes: int | None
    is_quarantined: bool = False

    @property
    def mxc(self) -> Mxc:
        return Mxc("one.test", self.name)

    @property
    def path(self) -> str:
        if self.name == "unsafe":
            raise UnsafeName("no path")
        return self.name


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / "store", tmp_path / "provider"]
    for folder in folders:
        folder.mkdir()
    return folders


def read(folders: list[Path], *rows: Row) -> list[bytes | None]:
    return StoredBytes(MediaFolder(folders), None).read_small(rows)


def test_files_come_whole_and_in_order(folders: list[Path]) -> None:
    content = {f"file{number}": os.urandom(number * 1000) for number in range(20)}
    for name, data in content.items():
        (folders[0] / name).write_bytes(data)
    rows = [Row(name, len(data)) for name, data in content.items()]
    assert read(folders, *rows) == list(content.values())


def test_the_second_folder_has_what_the_first_does_not(folders: list[Path]) -> None:
    (folders[0] / "both").write_bytes(b"first")
    (folders[1] / "both").write_bytes(b"other")
    (folders[1] / "file").write_bytes(b"second")
    assert read(folders, Row("both", 5), Row("file", 6)) == [b"first", b"second"]


def test_one_that_cannot_be_read_does_not_take_the_others_along(
    folders: list[Path],
) -> None:
    store = folders[0]
    (store / "good").write_bytes(b"12345")
    (store / "a_folder").mkdir()
    (store / "loop").symlink_to("loop")
    (store / "dangling").symlink_to("nowhere")
    os.mkfifo(store / "pipe")
    bad = ("missing", "a_folder", "loop", "dangling", "pipe", "unsafe", "x" * 300)
    rows = [Row(name, 5) for name in bad]
    found = read(folders, Row("good", 5), *rows, Row("good", 5))
    assert found == [b"12345", *[None] * len(bad), b"12345"]


def test_a_file_without_permission_is_left(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: who runs the tests may be root, who reads everything."""
    real = os.open

    def refuse(path: str, *more: int) -> int:
        if path.endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *more)

    for name in ("secret", "good"):
        (folders[0] / name).write_bytes(b"12345")
    monkeypatch.setattr(os, "open", refuse)
    assert read(folders, Row("secret", 5), Row("good", 5)) == [None, b"12345"]


def test_links_are_followed(folders: list[Path]) -> None:
    (folders[1] / "elsewhere").write_bytes(b"12345")
    (folders[0] / "link").symlink_to(folders[1] / "elsewhere")
    assert read(folders, Row("link", 5)) == [b"12345"]


@pytest.mark.parametrize("announced", [0, 4, 6, 100_000, -1, None])
def test_a_file_of_another_size_is_left(
    folders: list[Path], announced: int | None
) -> None:
    (folders[0] / "file").write_bytes(b"12345")
    assert read(folders, Row("file", announced)) == [None]


def test_a_file_that_is_much_too_long_is_not_read(folders: list[Path]) -> None:
    with (folders[0] / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert read(folders, Row("sparse", 5)) == [None]


def test_no_descriptor_stays_open(folders: list[Path]) -> None:
    os.mkfifo(folders[0] / "pipe")
    (folders[0] / "file").write_bytes(b"12345")
    before = os.listdir("/proc/self/fd")
    read(folders, *[Row("pipe", 5), Row("file", 5), Row("file", 6)] * 10)
    assert os.listdir("/proc/self/fd") == before


def test_without_a_folder_nothing_is_at_hand() -> None:
    assert StoredBytes(None, None).read_small([Row("a", 1), Row("b", 2)]) == [None] * 2
