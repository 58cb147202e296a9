"""The manifest of an archive: what is written, and what is believed of strangers."""

from __future__ import annotations

import io
import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.archives import manifest_reader
from mmr.archives.manifest import (
    MAX_TEXT,
    ManifestError,
    ManifestHeader,
    ManifestWriter,
    MediaEntry,
)
from mmr.archives.manifest_reader import ManifestReader, Refused

ENTRY = MediaEntry(
    origin="example.org",
    media_id="abc",
    name="cat ☃.png",
    file_name="example.org__abc.png",
    size_bytes=5,
    content_type="image/png",
    sha256="0" * 64,
    s3_url="",
    created_ts=1_700_000_000_000,
    uploader="@alice:example.org",
)

_texts = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40
)
_entries = st.builds(
    MediaEntry,
    origin=st.sampled_from(["example.org", "[::1]:8448", "a.b:1"]),
    media_id=st.text(st.sampled_from("abcXYZ019_-"), min_size=1, max_size=20),
    name=_texts,
    file_name=_texts.filter(bool),
    size_bytes=st.integers(0, 2**63 - 1),
    content_type=_texts,
    sha256=st.sampled_from(["", "0a" * 32]),
    s3_url=_texts,
    created_ts=st.integers(0, 2**63 - 1),
    uploader=_texts,
)


class Drops(io.RawIOBase):
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size = io.BytesIO(data), size

    def read(self, size: int = -1) -> bytes:
        return self._data.read(self._size)


def written(*entries: MediaEntry, entity: str = "@alice:example.org") -> bytes:
    """A manifest as we write it."""
    file = io.BytesIO()
    writer = ManifestWriter(file, entity, 123)
    for entry in entries:
        writer.add(entry)
    writer.close()
    return file.getvalue()


def read(data: bytes, size: int = 1 << 16) -> tuple[ManifestHeader, list[Any]]:
    """What the reader makes of it."""
    reader = ManifestReader(Drops(data, size))  # type: ignore[arg-type]
    found = list(reader)
    return reader.header, found


def manifest(**changes: Any) -> bytes:
    """A manifest as others may write it; None leaves a key out."""
    values = {"version": 2, "entity_id": "example.org", "created_ts": 1, "media": {}}
    values.update(changes)
    kept = {key: value for key, value in values.items() if value is not None}
    return json.dumps(kept).encode()


def record(**changes: Any) -> dict[str, Any]:
    """A record as others may write it."""
    return {**attrs.asdict(ENTRY), **changes}


def refusal(**changes: Any) -> str:
    """Why a record with these changes is refused."""
    media = {"mxc://example.org/abc": record(**changes)}
    _, found = read(manifest(media=media))
    assert isinstance(found[0], Refused), found
    return found[0].reason


def test_it_has_the_keys_of_mmr() -> None:
    value = json.loads(written(ENTRY))
    assert value == {
        "version": 2,
        "entity_id": "@alice:example.org",
        "created_ts": 123,
        "media": {
            "mxc://example.org/abc": {
                "name": "cat ☃.png",
                "file_name": "example.org__abc.png",
                "size_bytes": 5,
                "content_type": "image/png",
                "sha256": "0" * 64,
                "s3_url": "",
                "origin": "example.org",
                "media_id": "abc",
                "created_ts": 1_700_000_000_000,
                "uploader": "@alice:example.org",
            }
        },
    }


def test_one_without_media_is_whole() -> None:
    assert json.loads(written())["media"] == {}
    header, found = read(written())
    assert (header, found) == (ManifestHeader(2, "@alice:example.org", 123), [])


@given(st.lists(_entries, max_size=5), st.integers(1, 200))
def test_what_is_written_is_read_again(entries: list[MediaEntry], size: int) -> None:
    assert read(written(*entries), size)[1] == entries


@given(st.binary(max_size=200), st.integers(1, 30))
def test_any_bytes_are_read_or_refused(data: bytes, size: int) -> None:
    """R77: what isn't a manifest is named so, and nothing else happens."""
    with pytest.raises(ManifestError):
        read(data, size)


@given(
    st.dictionaries(
        st.sampled_from(
            ["version", "entity_id", "user_id", "media", "created_ts", "x"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | _texts,
            lambda inner: st.lists(inner) | st.dictionaries(_texts, inner),
            max_leaves=8,
        ),
    ),
    st.integers(1, 20),
)
def test_any_json_is_read_or_refused(value: dict[str, Any], size: int) -> None:
    """R77: types are never taken for granted."""
    try:
        read(json.dumps(value).encode(), size)
    except ManifestError:
        pass


def test_the_order_of_keys_does_not_matter() -> None:
    media = {"mxc://example.org/abc": record()}
    data = json.dumps({"media": media, "entity_id": "example.org", "version": 2})
    for size in (1, 7, 1000):
        assert read(data.encode(), size) == (
            ManifestHeader(2, "example.org", 0),
            [ENTRY],
        )


def test_version_1_names_the_user_whose_media_it_all_is() -> None:
    media = {"mxc://example.org/abc": record(uploader="")}
    data = manifest(version=1, entity_id=None, user_id="@bob:example.org", media=media)
    header, (entry,) = read(data)
    assert header == ManifestHeader(1, "@bob:example.org", 1)
    assert header.uploader_of(entry) == "@bob:example.org"
    assert ManifestHeader(2, "@bob:example.org", 1).uploader_of(entry) == ""
    assert header.uploader_of(ENTRY) == "@alice:example.org"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 3}, "unknown version 3"),
        ({"version": True}, "unknown version True"),
        ({"version": None}, "unknown version None"),
        ({"entity_id": ""}, "entity_id"),
        ({"entity_id": "x" * 256}, "entity_id"),
        ({"version": 1}, "user_id"),
        ({"media": None}, "no media map"),
        ({"media": []}, "{ expected"),
        ({"created_ts": -1}, "created_ts"),
        ({"created_ts": "1"}, "created_ts"),
        ({"more": "x" * (manifest_reader.MAX_VALUE * 2)}, "too long"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(
    changes: dict[str, Any], reason: str
) -> None:
    """R77."""
    with pytest.raises(ManifestError, match=reason):
        read(manifest(**changes))


@pytest.mark.parametrize(
    "data",
    [
        manifest() + b"{}",
        manifest()[:-1],
        b"\xff" + manifest(),
        manifest().replace(b'"media": {}', b'"media": {}, "media": {}'),
        b'{"media": ' + b'{"a":' * 100_000,
        b'{"x": ' + b"[" * 100_000,
        b'{"version": ' + b"1" * 100_000 + b"}",
        b"",
    ],
)
def test_a_broken_manifest_is_refused(data: bytes) -> None:
    """R77."""
    with pytest.raises(ManifestError):
        read(data)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"media_id": "other"}, "the key doesn't fit"),
        ({"origin": "evil.org"}, "the key doesn't fit"),
        ({"file_name": ""}, "where the bytes are"),
        ({"file_name": "a\0b"}, "characters"),
        ({"uploader": "\ud800"}, "characters"),
        ({"name": "x" * (MAX_TEXT + 1)}, "longer"),
        ({"name": 5}, "name is not a text"),
        ({"size_bytes": -1}, "size_bytes"),
        ({"size_bytes": 2**63}, "size_bytes"),
        ({"size_bytes": 1.5}, "size_bytes"),
        ({"size_bytes": True}, "size_bytes"),
        ({"created_ts": "now"}, "created_ts"),
        ({"sha256": "abc"}, "sha256"),
        ({"sha256": "g" * 64}, "sha256"),
    ],
)
def test_a_record_that_makes_no_sense_is_named(
    changes: dict[str, Any], reason: str
) -> None:
    """R77."""
    assert reason in refusal(**changes)


@pytest.mark.parametrize("media_id", ["../x", "a/b", "", "a" * 256, "a\n", "ipfs:x"])
def test_ids_outside_the_grammar_are_refused(media_id: str) -> None:
    """R70."""
    key = f"mxc://example.org/{media_id}"
    _, (found,) = read(manifest(media={key: record(media_id=media_id)}))
    assert found == Refused(key, "not a valid MXC URI")


def test_a_bad_record_does_not_hide_the_good_ones() -> None:
    media = {"x" * 1000: 5, "mxc://example.org/abc": record(sha256="AB" * 32)}
    _, found = read(manifest(media=media))
    assert found == [
        Refused("x" * 512, "the record is not an object"),
        attrs.evolve(ENTRY, sha256="ab" * 32),
    ]


def test_nulls_and_missing_keys_mean_nothing() -> None:
    short = {"origin": "example.org", "media_id": "abc", "file_name": "x", "name": None}
    _, (entry,) = read(manifest(media={"mxc://example.org/abc": short}))
    assert (entry.name, entry.size_bytes, entry.uploader) == ("", 0, "")


def test_a_name_that_no_text_has_is_mended() -> None:
    media = {"mxc://example.org/abc": record(name="a\0b\ud800c")}
    _, (entry,) = read(manifest(media=media))
    assert entry.name == "a\ufffdb\ufffdc"


def test_records_and_bytes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """R77: the reader ends, whatever it is given."""
    entries = [attrs.evolve(ENTRY, media_id=f"m{n}") for n in range(4)]
    data = written(*entries)
    monkeypatch.setattr(manifest_reader, "MAX_RECORDS", 3)
    with pytest.raises(ManifestError, match="more than 3 records"):
        read(data)
    monkeypatch.setattr(manifest_reader, "MAX_MANIFEST_BYTES", 100)
    with pytest.raises(ManifestError, match="longer than 100 bytes"):
        read(data, 10)
