"""Paths in Synapse's media store, and reading its files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.errors import StartupError
from mmr.interop import synapse_store
from mmr.interop.media_folder import CHUNK_BYTES, MediaFolder
from mmr.interop.synapse_store import ThumbnailName, UnsafeName

NAME = ThumbnailName(320, 240, "image/jpeg", "scale")


def test_paths_are_synapses() -> None:
    assert synapse_store.local_content("aabbcccc") == "local_content/aa/bb/cccc"
    assert (
        synapse_store.local_thumbnail("aabbcccc", NAME)
        == "local_thumbnails/aa/bb/cccc/320-240-image-jpeg-scale"
    )
    assert (
        synapse_store.remote_content("example.org:8448", "aabbcccc")
        == "remote_content/example.org:8448/aa/bb/cccc"
    )
    assert synapse_store.remote_thumbnails("example.org", "aabbcccc", NAME) == (
        "remote_thumbnail/example.org/aa/bb/cccc/320-240-image-jpeg-scale",
        "remote_thumbnail/example.org/aa/bb/cccc/320-240-image-jpeg",
    )


def test_paths_of_previews_depend_on_the_age_of_the_id() -> None:
    assert (
        synapse_store.url_cache("2020-08-17_abcdefghijklmnop")
        == "url_cache/2020-08-17/abcdefghijklmnop"
    )
    assert (
        synapse_store.url_cache_thumbnail("2020-08-17_ab", NAME)
        == "url_cache_thumbnails/2020-08-17/ab/320-240-image-jpeg-scale"
    )
    assert synapse_store.url_cache("aabbcccc") == "url_cache/aa/bb/cccc"


@pytest.mark.parametrize(
    "media_id", ["", "abcd", "....x", "../../etc", "aa\0bcc", "aabb/..", "aabbc\n"]
)
def test_ids_that_lead_elsewhere_are_refused(media_id: str) -> None:
    """R71: nothing from a database becomes a path outside of the folder."""
    with pytest.raises(UnsafeName):
        synapse_store.local_content(media_id)


@pytest.mark.parametrize("origin", ["", ".", "..", "a/b", "é.example"])
def test_origins_that_lead_elsewhere_are_refused(origin: str) -> None:
    """R71."""
    with pytest.raises(UnsafeName):
        synapse_store.remote_content(origin, "aabbcccc")


@given(st.text(), st.text(), st.text())
def test_no_text_leads_out_of_the_folder(origin: str, file_id: str, kind: str) -> None:
    """R71."""
    name = ThumbnailName(1, 1, kind, kind)
    for make in (
        lambda: synapse_store.local_content(file_id),
        lambda: synapse_store.remote_content(origin, file_id),
        lambda: synapse_store.url_cache(file_id),
        lambda: synapse_store.local_thumbnail(file_id, name),
    ):
        try:
            path = make()
        except UnsafeName:
            continue
        assert os.path.normpath(path) == path
        assert not path.startswith(("/", ".."))


def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    content = os.urandom(CHUNK_BYTES + 5)
    (tmp_path / "file").write_bytes(content)
    folder = MediaFolder([tmp_path])
    assert b"".join(folder.chunks("file")) == content
    assert folder.size("file") == len(content)


def test_the_second_folder_is_looked_into_when_the_first_has_no_such_file(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "store", tmp_path / "provider"
    first.mkdir()
    second.mkdir()
    (second / "file").write_bytes(b"from the provider")
    assert list(MediaFolder([first, second]).chunks("file")) == [b"from the provider"]


def test_a_missing_file_is_named_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        MediaFolder([tmp_path]).size("local_content/aa/bb/cccc")
    assert str(tmp_path / "local_content/aa/bb/cccc") in str(caught.value)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match="not a regular file"):
            MediaFolder([tmp_path]).size(name)


def test_a_folder_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="nowhere"):
        MediaFolder([tmp_path / "nowhere"])
