"""Dendrite's table of media is read as it is, on both engines."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.errors import StartupError
from mmr.interop import dendrite_database
from mmr.interop.dendrite_database import (
    DendriteDatabase,
    DendriteMedia,
    dendrite_folder,
)
from mmr.interop.foreign_database import ForeignDatabase, ForeignDatabaseError
from mmr.interop.synapse_store import UnsafeName
from mmr.types import Mxc

from tests.interop.dendrite_tables import SERVER, add_media, base64_hash, create_table
from tests.interop.synapse_tables import open_empty


@pytest.fixture(params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[ForeignDatabase]:
    with contextlib.closing(open_empty(request.param, tmp_path)) as opened:
        yield opened


def media(base64_hash: str) -> DendriteMedia:
    return DendriteMedia(Mxc(SERVER, "a"), "", 1, 1, "", "", base64_hash)


def test_a_row_is_read_with_its_path_and_hash(
    database: ForeignDatabase, tmp_path: Path
) -> None:
    create_table(database)
    path = add_media(database, tmp_path / "media", "AbC-_9", b"content")
    (row,) = next(DendriteDatabase(database, SERVER).batches(with_remote=False))
    assert row == DendriteMedia(
        mxc=Mxc(SERVER, "AbC-_9"),
        content_type="text/plain",
        size_bytes=7,
        created_ts=1_600_000_000_000,
        upload_name="a.txt",
        user_id=f"@alice:{SERVER}",
        base64_hash=base64_hash(b"content"),
    )
    assert row.sha256_hash == hashlib.sha256(b"content").hexdigest()
    assert tmp_path / "media" / row.path == path
    folder = dendrite_folder(tmp_path / "media")
    assert b"".join(folder.chunks(row.path)) == b"content"


def test_nulls_are_nothing(database: ForeignDatabase) -> None:
    create_table(database)
    database.rows("DROP TABLE mediaapi_media_repository")
    columns = dendrite_database._COLUMNS.split(",")
    database.rows(
        f"CREATE TABLE mediaapi_media_repository ({' TEXT,'.join(columns)} TEXT)"
    )
    database.rows(
        "INSERT INTO mediaapi_media_repository (media_id, media_origin) VALUES (?, ?)",
        ("a", SERVER),
    )
    (row,) = next(DendriteDatabase(database, SERVER).batches(with_remote=False))
    assert (row.size_bytes, row.created_ts, row.user_id) == (0, 0, "")
    assert row.sha256_hash is None
    with pytest.raises(UnsafeName):
        _ = row.path


def test_all_rows_come_once_whatever_the_batch(
    database: ForeignDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dendrite_database, "BATCH_ROWS", 3)
    create_table(database)
    for number in range(7):
        add_media(database, None, f"id{number}", b"x")
        add_media(database, None, f"id{number}", b"x", media_origin="a.remote")
    reader = DendriteDatabase(database, SERVER)

    def ids(with_remote: bool, after: tuple[str, str] = ("", "")) -> list[str]:
        batches = reader.batches(with_remote=with_remote, after=after)
        return [str(row.mxc) for batch in batches for row in batch]

    local = [f"mxc://{SERVER}/id{number}" for number in range(7)]
    remote = [f"mxc://a.remote/id{number}" for number in range(7)]
    assert ids(with_remote=False) == local
    assert ids(with_remote=True) == remote + local
    assert ids(with_remote=False, after=(SERVER, "id4")) == local[5:]
    assert reader.count(with_remote=False) == 7
    assert reader.count(with_remote=True) == 14


@pytest.mark.parametrize(
    "name", ["", "ab", "../../etc/passwd", "a/b", "ab.", "é" * 43, "a" * 300, "ab\n"]
)
def test_hashes_that_are_none_never_become_paths(name: str) -> None:
    with pytest.raises(UnsafeName):
        _ = media(name).path


@given(st.text(max_size=60))
def test_no_hash_leads_out_of_the_folder(name: str) -> None:
    row = media(name)
    assert row.sha256_hash is None or len(row.sha256_hash) == 64
    try:
        parts = row.path.split("/")
    except UnsafeName:
        return
    assert len(parts) == 4
    assert not {"", ".", ".."} & set(parts)


def test_another_database_is_told(database: ForeignDatabase) -> None:
    with pytest.raises(ForeignDatabaseError, match="not the database of Dendrite"):
        DendriteDatabase(database, SERVER)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"media_api\.base_path"):
        dendrite_folder(tmp_path / "none")
