"""Offline exports that end early: what is there is right, the next run does the rest.

The program runs inside the test, because faults are put under it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mmr.archives import folder as folder_module
from mmr.archives.folder import FolderArchive
from mmr.cli import export_synapse_for_import
from mmr.tasks import offline_export

from tests.cli.test_offline_exports import SERVER, Homeserver

_FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def synapse(tmp_path: Path) -> Iterator[Homeserver]:
    made = Homeserver("synapse", "sqlite", tmp_path)
    with contextlib.closing(made.database):
        yield made


def export(home: Homeserver, *flags: str) -> int:
    """The exit status."""
    media, target = str(home.media), str(home.folder / "media-export")
    return export_synapse_for_import.main(
        [
            *(*home.flags, "-serverName", SERVER),
            *("-mediaDirectory", media, "-destination", target, *flags),
        ]
    )


def fail_before(is_full: Callable[[FolderArchive], bool]) -> Any:
    """`FolderArchive.finish_part` on a disk that is full for some parts."""
    finish = FolderArchive.finish_part

    def finish_part(archive: FolderArchive, place: Any) -> None:
        if is_full(archive):
            raise _FULL
        finish(archive, place)

    return finish_part


def of_manifest(archive: FolderArchive) -> bool:
    return archive._name == "export-manifest.tgz"


def test_no_room_for_the_manifest_makes_no_second_copy(
    synapse: Homeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R94."""
    for number in range(3):
        synapse.add(f"AbCd{number}", b"%d" % number)
    with monkeypatch.context() as patch:
        patch.setattr(FolderArchive, "finish_part", fail_before(of_manifest))
        assert export(synapse) == 2
    assert export(synapse) == 0
    assert synapse.parts == ["export-manifest.tgz", "export-part-1.tgz"]
    assert len(synapse.archive()[0]["media"]) == 3


def test_what_failed_is_told_by_the_exit_status_of_the_run_that_ends(
    synapse: Homeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    synapse.add("AbCd0", b"0").unlink()
    synapse.add("AbCd1", b"1")
    with monkeypatch.context() as patch:
        patch.setattr(FolderArchive, "finish_part", fail_before(of_manifest))
        assert export(synapse, "-skipMissing") == 2
    assert export(synapse, "-skipMissing") == 1


def test_a_file_that_can_not_be_read_to_its_end_is_not_passed_over(
    synapse: Homeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when it fills a part: the next run begins with it."""
    for number, size in enumerate((1000, 600_000, 1000)):
        synapse.add(f"AbCd{number}", os.urandom(size))
    read = offline_export._Reading._read
    reads = []

    def failing(reading: Any) -> bytes:
        reads.append(reading)
        if len(reads) == 5:
            reading.error = OSError(errno.EIO, os.strerror(errno.EIO))
            return b""
        return read(reading)

    with monkeypatch.context() as patch:
        patch.setattr(offline_export._Reading, "_read", failing)
        assert export(synapse, "-partSize", "500000") == 2
    assert export(synapse, "-partSize", "500000") == 0
    assert len(synapse.archive()[0]["media"]) == 3


def test_a_damaged_file_that_fills_a_part_is_not_forgotten(
    synapse: Homeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    synapse.add("AbCd0", b"0", sha256="ab" * 32)
    synapse.add("AbCd1", b"1")
    calls: list[FolderArchive] = []

    def is_second(archive: FolderArchive) -> bool:
        calls.append(archive)
        return len(calls) == 2

    with monkeypatch.context() as patch:
        patch.setattr(FolderArchive, "finish_part", fail_before(is_second))
        assert export(synapse, "-partSize", "1") == 2
    assert export(synapse, "-partSize", "1") == 1


@pytest.mark.parametrize("left", ["state.json", "records"])
def test_a_kill_while_it_clears_up_is_no_obstacle(
    synapse: Homeserver, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """R94."""
    synapse.add("AbCd0", b"0")

    def half(folder: Path, ignore_errors: bool = False) -> None:
        if not (folder / "records").exists():
            return
        for each in folder.iterdir():
            if each.name != left:
                each.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folder_module.shutil, "rmtree", half)
        assert export(synapse) == 2
    assert export(synapse) == 0
    assert len(synapse.archive()[0]["media"]) == 1
