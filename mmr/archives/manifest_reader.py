"""Reading a manifest that somebody gave us, one record at a time (R77).

It is as long as it likes, and its keys come in any order, so it is read in pieces:
iterate over the records, then ask for the header.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import attrs

from mmr.archives.manifest import (
    MAX_NUMBER,
    ManifestError,
    ManifestHeader,
    MediaEntry,
    RecordError,
)

MAX_MANIFEST_BYTES = 8 * 1024**3
MAX_RECORDS = 10_000_000
MAX_VALUE = 256 * 1024
"""Characters of one record, or of the value of one other key."""
_MAX_ENTITY = 255
_BLOCK = 64 * 1024
_WHITE = " \t\n\r"


@attrs.frozen
class Refused:
    """A record that can't be used.

    Attributes:
        key: The record's key; cut, if it is very long.
        reason: A sentence.
    """

    key: str
    reason: str


class ManifestReader:
    """Reads one manifest. Blocks: for pool threads.

    Iterating gives each record, or why it was refused, in the order of the file; a
    key may come twice. After the last one, `header` is known.

    Args:
        stream: Gives the manifest's bytes; it needn't be seekable.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._text = _Text(stream)
        self._values: dict[str, Any] = {}
        self._has_media = False

    def __iter__(self) -> Iterator[MediaEntry | Refused]:
        """Read on.

        Raises:
            ManifestError: when the manifest as a whole can't be used.
        """
        for key in self._text.keys():
            if key == "media":
                yield from self._records()
            elif key in ("version", "entity_id", "user_id", "created_ts"):
                self._values[key] = self._text.value()
            else:
                self._text.value()
        self._text.expect_end()

    def _records(self) -> Iterator[MediaEntry | Refused]:
        if self._has_media:
            raise ManifestError("there are two media maps")
        self._has_media = True
        for count, key in enumerate(self._text.keys(), start=1):
            if count > MAX_RECORDS:
                raise ManifestError(f"more than {MAX_RECORDS} records")
            raw = self._text.value()
            try:
                yield MediaEntry.from_json(key, raw)
            except RecordError as error:
                yield Refused(key[:512], str(error))

    @property
    def header(self) -> ManifestHeader:
        """What it says about the archive. Only after the last record.

        Raises:
            ManifestError: when something that must be there isn't.
        """
        version = self._values.get("version")
        # True equals 1.
        if type(version) is not int or version not in (1, 2):
            raise ManifestError(f"unknown version {version!r}: 1 and 2 can be read")
        key = "user_id" if version == 1 else "entity_id"
        entity = self._values.get(key)
        if not isinstance(entity, str) or not 0 < len(entity) <= _MAX_ENTITY:
            raise ManifestError(f"{key} doesn't say whose media it is")
        if not self._has_media:
            raise ManifestError("there is no media map")
        created_ts = self._values.get("created_ts", 0)
        if type(created_ts) is not int or not 0 <= created_ts <= MAX_NUMBER:
            raise ManifestError("created_ts is not a time")
        return ManifestHeader(version, entity, created_ts)


class _Text:
    """A window over a long JSON text."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._window = ""
        self._at = 0
        self._bytes_read = 0
        self._is_all = False

    def keys(self) -> Iterator[str]:
        """The keys of an object; the caller reads each value before the next key."""
        self._expect("{")
        if self._peek() == "}":
            self._expect("}")
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise ManifestError("not JSON: a key is not a text")
            self._expect(":")
            yield key
            if self._expect(",}") == "}":
                return

    def value(self) -> Any:
        """The next value, whole.

        Raises:
            ManifestError: when it is no JSON, or too long.
        """
        self._peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._window, self._at)
            except (ValueError, RecursionError) as error:
                if self._is_all or len(self._window) - self._at > MAX_VALUE:
                    raise ManifestError(f"not JSON, or too long: {error}") from error
            else:
                # A number near the end may go on: 1, 1.5, 1e+5.
                if end + 4 <= len(self._window) or self._is_all:
                    self._at = end
                    return value
            self._fill()

    def expect_end(self) -> None:
        """Refuse anything after the manifest."""
        if self._peek():
            raise ManifestError("not JSON: something follows the manifest")

    def _expect(self, chars: str) -> str:
        found = self._peek()
        if not found or found not in chars:
            wanted = " or ".join(chars)
            raise ManifestError(f"not JSON: {wanted} expected, found {found!r}")
        self._at += 1
        return found

    def _peek(self) -> str:
        """The next character that isn't white; empty at the end."""
        while True:
            while self._at < len(self._window):
                if self._window[self._at] not in _WHITE:
                    return self._window[self._at]
                self._at += 1
            if self._is_all:
                return ""
            self._fill()

    def _fill(self) -> None:
        block = self._stream.read(_BLOCK)
        self._bytes_read += len(block)
        if self._bytes_read > MAX_MANIFEST_BYTES:
            raise ManifestError(f"longer than {MAX_MANIFEST_BYTES} bytes")
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise ManifestError("not JSON: the text is not UTF-8") from error
        self._window = self._window[self._at :] + text
        self._at = 0
        self._is_all = not block
