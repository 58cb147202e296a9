"""The manifest of an archive: which media its parts hold (mmr-storage.md §5.1).

A manifest grows with the media, so it is never whole in memory: `ManifestWriter` takes
one record at a time, `mmr.archives.manifest_reader` gives one at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, BinaryIO

import attrs

from mmr.types import Mxc, is_valid_media_id, is_valid_server_name

MANIFEST_NAME = "manifest.json"
"""The entry of the archive that holds the manifest."""
VERSION = 2
"""What we write. Version 1 is read as well."""
MAX_TEXT = 16 * 1024
"""Characters of one text of a record."""
MAX_NUMBER = 2**63 - 1

_SHA256 = re.compile(r"[0-9A-Fa-f]{64}\Z")
_NOT_IN_TEXTS = re.compile("[\0\ud800-\udfff]")


class ManifestError(Exception):
    """The manifest can't be used at all; the text says why."""


class RecordError(Exception):
    """One record can't be used; the text says why. The others may be fine."""


@attrs.frozen
class MediaEntry:
    """One media of an archive.

    Attributes:
        name: What the uploader called it; may be empty.
        file_name: The entry of a part that holds the bytes. A key, never a path (R77).
            Several records may name the same entry.
        sha256: Lower-case hex; empty when the writer didn't know it.
        s3_url: Where the object is in a bucket; empty unless it was asked for.
        created_ts: Uploaded or fetched at, ms since the epoch.
        uploader: User id as the archive claims it; may be empty or no user id at all.
    """

    origin: str
    media_id: str
    name: str
    file_name: str
    size_bytes: int
    content_type: str
    sha256: str
    s3_url: str
    created_ts: int
    uploader: str

    @property
    def mxc(self) -> Mxc:
        """The media's address."""
        return Mxc(self.origin, self.media_id)

    @classmethod
    def from_json(cls, key: str, raw: object) -> MediaEntry:
        """Read and check a record.

        Args:
            key: The record's key in the map: must be its MXC.

        Raises:
            RecordError: when it can't be used.
        """
        if not isinstance(raw, dict):
            raise RecordError("the record is not an object")
        entry = cls(*[_checked(raw, name, zero) for name, zero in _FIELDS])
        entry._check(key)
        if entry.sha256 and not entry.sha256.islower():
            return attrs.evolve(entry, sha256=entry.sha256.lower())
        return entry

    def _check(self, key: str) -> None:
        if key != str(self.mxc):
            raise RecordError(f"the key doesn't fit the record, which is {self.mxc}")
        if not (is_valid_server_name(self.origin) and is_valid_media_id(self.media_id)):
            raise RecordError("not a valid MXC URI")
        if not self.file_name and not self.s3_url:
            raise RecordError("neither file_name nor s3_url says where the bytes are")
        if self.sha256 and not _SHA256.match(self.sha256):
            raise RecordError("sha256 is not 64 hexadecimal digits")


# What null and nothing mean, as in MMR.
_FIELDS: tuple[tuple[str, Any], ...] = tuple(
    (field.name, 0 if str(field.type) == "int" else "")
    for field in attrs.fields(MediaEntry)
)


def _checked(raw: Mapping[str, Any], key: str, zero: str | int) -> Any:
    """One value of a record."""
    value = raw.get(key)
    if value is None:
        return zero
    if zero == 0:
        if type(value) is not int or not 0 <= value <= MAX_NUMBER:
            raise RecordError(f"{key} is not a whole number from 0 to 2^63-1")
        return value
    if not isinstance(value, str):
        raise RecordError(f"{key} is not a text")
    if len(value) > MAX_TEXT:
        raise RecordError(f"{key} is longer than {MAX_TEXT} characters")
    if not _NOT_IN_TEXTS.search(value):
        return value
    if key == "name":
        # It is only shown: better a mended name than no file.
        return _NOT_IN_TEXTS.sub("\ufffd", value)
    raise RecordError(f"{key} holds characters that no text has")


@attrs.frozen
class ManifestHeader:
    """What a manifest says about the archive as a whole.

    Attributes:
        version: 1 or 2.
        entity_id: The user or server whose media it is.
        created_ts: When the archive was made, ms since the epoch.
    """

    version: int
    entity_id: str
    created_ts: int

    def uploader_of(self, entry: MediaEntry) -> str:
        """Who uploaded it: archives of version 1 hold the media of one user."""
        if self.version == 1 and not entry.uploader:
            return self.entity_id
        return entry.uploader


class ManifestWriter:
    """Writes a manifest, one record at a time.

    Args:
        file: Where to; stays open.
    """

    def __init__(self, file: BinaryIO, entity_id: str, created_ts: int) -> None:
        self._file = file
        self._is_first = True
        header = {"version": VERSION, "entity_id": entity_id, "created_ts": created_ts}
        self._file.write(json.dumps(header)[:-1].encode() + b', "media": {')

    def add(self, entry: MediaEntry) -> None:
        """Append a record. Its MXC must not have been there before."""
        pair = f"{json.dumps(str(entry.mxc))}: {json.dumps(attrs.asdict(entry))}"
        self._file.write(("\n" if self._is_first else ",\n").encode() + pair.encode())
        self._is_first = False

    def close(self) -> None:
        """Write the end."""
        self._file.write(b"\n}}\n")
