"""Synapse's tables are read as they are, on both engines and of any age."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmr.interop import synapse_database
from mmr.interop.foreign_database import (
    ForeignDatabase,
    ForeignDatabaseError,
    open_postgres,
    open_sqlite,
)
from mmr.interop.synapse_database import SynapseDatabase
from mmr.interop.synapse_store import ThumbnailName
from mmr.types import Mxc

from tests.interop.synapse_tables import (
    OLD_TABLES,
    SERVER,
    create,
    insert,
    open_empty,
    postgres_options,
)
from tests.postgres import shared_cluster

LOCAL = "local_media_repository"
REMOTE = "remote_media_cache"


@pytest.fixture(params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[ForeignDatabase]:
    with contextlib.closing(open_empty(request.param, tmp_path)) as opened:
        yield opened


def test_a_row_of_local_media_is_read_with_all_its_flags(
    database: ForeignDatabase,
) -> None:
    create(database)
    insert(
        database,
        LOCAL,
        media_id="AbCdEfGh",
        media_type="image/png",
        media_length=7,
        created_ts=1234567890123,
        upload_name="ein Bild ☃.png",
        user_id="@alice:media.example",
        quarantined_by="@admin:media.example",
        last_access_ts=1234567890999,
        safe_from_quarantine=True,
        authenticated=True,
        sha256="ab" * 32,
    )
    media = SynapseDatabase(database, SERVER).find_local("AbCdEfGh")
    assert media is not None
    assert media == synapse_database.SynapseMedia(
        mxc=Mxc(SERVER, "AbCdEfGh"),
        is_local=True,
        file_id="AbCdEfGh",
        content_type="image/png",
        size_bytes=7,
        created_ts=1234567890123,
        upload_name="ein Bild ☃.png",
        user_id="@alice:media.example",
        url_cache=None,
        last_access_ts=1234567890999,
        quarantined_by="@admin:media.example",
        is_protected=True,
        requires_auth=True,
        sha256_hash="ab" * 32,
    )
    assert media.path == "local_content/Ab/Cd/EfGh"
    assert not media.is_preview
    assert not media.is_unfinished


def test_previews_and_unfinished_uploads_are_told_apart(
    database: ForeignDatabase,
) -> None:
    create(database)
    insert(database, LOCAL, media_id="reserved", created_ts=1, user_id="@a:b")
    insert(
        database,
        LOCAL,
        media_id="2020-08-17_abcdefghijklmnop",
        media_length=5,
        url_cache="https://example.org/",
    )
    source = SynapseDatabase(database, SERVER)
    preview, reserved = next(source.local_batches())
    assert preview.is_preview
    assert preview.path == "url_cache/2020-08-17/abcdefghijklmnop"
    assert reserved.is_unfinished
    assert not reserved.is_preview
    assert source.count_local() == 2


def test_remote_media_is_found_by_its_address_and_lies_under_its_filesystem_id(
    database: ForeignDatabase,
) -> None:
    create(database)
    mxc = Mxc("[::1]:8448", "their_id-1")
    insert(
        database,
        REMOTE,
        media_origin=mxc.origin,
        media_id=mxc.media_id,
        media_type="text/plain",
        created_ts=5,
        media_length=0,
        filesystem_id="QwErTyUiOp",
        authenticated=True,
    )
    source = SynapseDatabase(database, SERVER)
    media = source.find_remote(mxc)
    assert media is not None
    assert media.path == "remote_content/[::1]:8448/Qw/Er/TyUiOp"
    assert media.requires_auth
    assert media.size_bytes == 0
    assert list(source.remote_batches()) == [[media]]
    assert source.count_remote() == 1
    assert source.find_remote(Mxc(SERVER, "other")) is None


def test_batches_cover_everything_once_and_go_on_after_a_key(
    database: ForeignDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synapse_database, "BATCH_ROWS", 2)
    create(database)
    ids = [f"media{number}" for number in range(5)]
    for media_id in ids:
        insert(database, LOCAL, media_id=media_id, media_length=1)
        for origin in ("one.example", "two.example"):
            insert(
                database,
                REMOTE,
                media_origin=origin,
                media_id=media_id,
                media_length=1,
                filesystem_id="f" + media_id,
            )
    source = SynapseDatabase(database, SERVER)
    local = [
        [media.mxc.media_id for media in batch] for batch in source.local_batches()
    ]
    assert local == [ids[:2], ids[2:4], ids[4:]]
    assert [len(batch) for batch in source.local_batches(ids[3])] == [1]
    remote = [media.mxc for batch in source.remote_batches() for media in batch]
    assert len(remote) == len(set(remote)) == 10
    after = (remote[6].origin, remote[6].media_id)
    rest = [media.mxc for batch in source.remote_batches(after) for media in batch]
    assert rest == remote[7:]


def test_a_database_without_the_newer_columns_is_read(
    database: ForeignDatabase,
) -> None:
    create(database, OLD_TABLES)
    insert(database, LOCAL, media_id="AbCdEfGh", media_length=7)
    media = SynapseDatabase(database, SERVER).find_local("AbCdEfGh")
    assert media is not None
    assert (media.user_id, media.upload_name, media.created_ts) == ("", "", 0)
    assert not media.requires_auth
    assert not media.is_protected
    assert media.quarantined_by is None
    assert media.sha256_hash is None


def test_thumbnails_are_read_with_their_names(database: ForeignDatabase) -> None:
    create(database)
    shape = {
        "thumbnail_width": 320,
        "thumbnail_height": 240,
        "thumbnail_type": "image/jpeg",
        "thumbnail_method": "scale",
        "thumbnail_length": 99,
    }
    insert(database, LOCAL, media_id="AbCdEfGh", media_length=7)
    insert(database, f"{LOCAL}_thumbnails", media_id="AbCdEfGh", **shape)
    remote = {"media_origin": "one.example", "media_id": "x", "filesystem_id": "fghjk"}
    insert(database, REMOTE, media_length=1, **remote)
    insert(database, f"{REMOTE}_thumbnails", **remote, **shape)
    source = SynapseDatabase(database, SERVER)
    wanted = synapse_database.SynapseThumbnail(
        ThumbnailName(320, 240, "image/jpeg", "scale"), 99
    )
    for media in (
        source.find_local("AbCdEfGh"),
        source.find_remote(Mxc("one.example", "x")),
    ):
        assert media is not None
        assert source.thumbnails(media) == [wanted]


def test_another_programs_database_is_refused_by_name(
    database: ForeignDatabase,
) -> None:
    with pytest.raises(
        ForeignDatabaseError, match=r"not the main database.*homeserver"
    ):
        SynapseDatabase(_renamed(database), SERVER)


def _renamed(database: ForeignDatabase) -> ForeignDatabase:
    database.name = "homeserver"
    return database


def test_a_transaction_happens_wholly_or_not_at_all(database: ForeignDatabase) -> None:
    create(database)
    source = SynapseDatabase(database, SERVER)
    with contextlib.suppress(KeyError), database.transaction():
        insert(database, LOCAL, media_id="one", media_length=1)
        raise KeyError
    assert source.count_local() == 0
    with database.transaction():
        insert(database, LOCAL, media_id="two", media_length=1)
    assert source.count_local() == 1


def test_wrong_credentials_are_named_without_the_password() -> None:
    options = {
        "host": "127.0.0.1",
        "port": shared_cluster().port,
        "user": "nobody",
        "password": "hunter2/:@",
        "dbname": "synapse",
    }
    with pytest.raises(ForeignDatabaseError) as caught:
        open_postgres(options)
    assert 'role "nobody" does not exist' in str(caught.value)
    assert "'synapse' at 127.0.0.1, user 'nobody'" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_reading_cannot_write(tmp_path: Path) -> None:
    open_empty("sqlite", tmp_path).close()
    for reader in (
        open_sqlite(tmp_path / "homeserver.db"),
        open_postgres(postgres_options(shared_cluster().create_database())),
    ):
        with pytest.raises(ForeignDatabaseError, match=r"read-?only"):
            reader.rows("CREATE TABLE surprise (a TEXT)")
        reader.close()


def test_a_missing_database_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ForeignDatabaseError, match="no such database file"):
        open_sqlite(tmp_path / "homeserver.db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "50% of it?.db"
    path.write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(ForeignDatabaseError, match="not a database"):
        open_sqlite(path)
