"""Rows for Synapse's tables, on both engines and of any age."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from mmr.interop.foreign_database import ForeignDatabase, RowRefused
from mmr.interop.synapse_database import (
    SynapseDatabase,
    SynapseMedia,
    SynapseThumbnail,
)
from mmr.interop.synapse_rows import NewSynapseMedia, SynapseRows
from mmr.interop.synapse_store import ThumbnailName
from mmr.types import Mxc

from tests.interop.synapse_tables import OLD_TABLES, SERVER, create, open_empty

LOCAL = SynapseMedia(
    mxc=Mxc(SERVER, "abcdef"),
    is_local=True,
    file_id="abcdef",
    content_type="image/png",
    size_bytes=7,
    created_ts=1_600_000_000_000,
    upload_name="Grüße.png",
    user_id="@alice:media.example",
    url_cache=None,
    last_access_ts=1_600_000_000_001,
    quarantined_by="system",
    is_protected=True,
    requires_auth=True,
    sha256_hash="ab" * 32,
)
REMOTE = attrs.evolve(
    LOCAL,
    mxc=Mxc("two.test", "theirs"),
    is_local=False,
    file_id="qwertyuiop",
    user_id="",
    is_protected=False,
)
THUMBNAILS = [
    SynapseThumbnail(ThumbnailName(96, 96, "image/png", "crop"), 50),
    SynapseThumbnail(ThumbnailName(320, 240, "image/jpeg", "scale"), 99),
]


@pytest.fixture(params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[ForeignDatabase]:
    with contextlib.closing(open_empty(request.param, tmp_path)) as opened:
        yield opened


def test_what_is_written_is_read_again(database: ForeignDatabase) -> None:
    create(database)
    new = [NewSynapseMedia(LOCAL, THUMBNAILS), NewSynapseMedia(REMOTE, THUMBNAILS)]
    SynapseRows(database, SERVER).insert(new)
    source = SynapseDatabase(database, SERVER)
    assert list(source.local_batches()) == [[LOCAL]]
    assert list(source.remote_batches()) == [[REMOTE]]
    assert source.thumbnails(LOCAL) == THUMBNAILS
    assert source.thumbnails(REMOTE) == THUMBNAILS


def test_a_synapse_without_the_newer_columns_gets_the_rest(
    database: ForeignDatabase,
) -> None:
    create(database, OLD_TABLES)
    SynapseRows(database, SERVER).insert([NewSynapseMedia(LOCAL)])
    found = SynapseDatabase(database, SERVER).find_local("abcdef")
    assert found is not None
    assert (found.upload_name, found.size_bytes) == ("Grüße.png", 7)


def test_what_synapse_has_is_found_even_if_it_is_only_reserved(
    database: ForeignDatabase,
) -> None:
    create(database)
    rows = SynapseRows(database, SERVER)
    reserved = attrs.evolve(LOCAL, mxc=Mxc(SERVER, "reserved"), size_bytes=None)
    rows.insert([NewSynapseMedia(each) for each in (LOCAL, REMOTE, reserved)])
    others = [Mxc("two.test", "abcdef"), Mxc(SERVER, "theirs")]
    taken = {each.mxc for each in (LOCAL, REMOTE, reserved)}
    assert rows.find_taken([*taken, *others]) == taken
    assert rows.find_taken([]) == set()


def test_many_rows_go_in_and_are_found(database: ForeignDatabase) -> None:
    create(database)
    rows = SynapseRows(database, SERVER)
    new = [
        attrs.evolve(base, mxc=Mxc(base.mxc.origin, f"many{number}"))
        for number in range(1100)
        for base in (LOCAL, REMOTE)
    ]
    rows.insert([NewSynapseMedia(each) for each in new])
    wanted = {each.mxc for each in new}
    assert rows.find_taken([*wanted, Mxc("three.test", "many1")]) == wanted


def check_refused(database: ForeignDatabase, **wrong: Any) -> None:
    create(database)
    rows = SynapseRows(database, SERVER)
    rows.insert([NewSynapseMedia(LOCAL)])
    good = attrs.evolve(LOCAL, mxc=Mxc(SERVER, "another"))
    bad = attrs.evolve(LOCAL, **wrong)
    with pytest.raises(RowRefused):
        rows.insert([NewSynapseMedia(good), NewSynapseMedia(bad)])
    assert rows.find_taken([good.mxc]) == set()


def test_of_a_batch_with_an_id_that_is_there_nothing_is(
    database: ForeignDatabase,
) -> None:
    check_refused(database)


def test_of_a_batch_with_a_number_that_does_not_fit_nothing_is(tmp_path: Path) -> None:
    with contextlib.closing(open_empty("postgres", tmp_path)) as database:
        check_refused(database, mxc=Mxc(SERVER, "large1"), size_bytes=1 << 31)
