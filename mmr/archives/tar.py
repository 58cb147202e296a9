"""Heads of tar entries from somebody else: names are keys, never paths (R77).

Python's own reader would take in extended headers of any size.
"""

from __future__ import annotations

import enum
import re
import zlib

import attrs

from mmr.archives.unpack import ArchiveError

BLOCK = 512
MAX_EXTENSION = 64 * 1024
"""Bytes of an extended header: a long name, and what else tar keeps there."""
MAX_SIZE = 2**53

_TYPE_AT = 156
_ZERO_BLOCK = bytes(BLOCK)
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*\Z")
_PAX_RECORD = re.compile(rb"(\d{1,20}) ([^=]+)=")


class Kind(enum.Enum):
    """What an entry is."""

    FILE = "file"
    FOLDER = "folder"
    NAME = "name"
    """Its bytes are the name of the next one (GNU)."""
    EXTENSION = "extension"
    """Its bytes are attributes of the next one (POSIX)."""
    IGNORED = "ignored"
    """Attributes of all entries, the target of a link."""
    REFUSED = "refused"
    """Links, devices, pipes, sparse files."""


_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"5": Kind.FOLDER,
    b"L": Kind.NAME,
    b"x": Kind.EXTENSION,
    b"K": Kind.IGNORED,
    b"g": Kind.IGNORED,
}


@attrs.frozen(slots=True)
class Head:
    """One entry's head.

    Attributes:
        size: Bytes that follow, without the padding.
    """

    kind: Kind
    name: str
    size: int

    @property
    def padding(self) -> int:
        """Bytes between its own and the next head."""
        return -self.size % BLOCK


def read_head(block: bytes) -> Head | None:
    """Read one block; None when it is the end's.

    Raises:
        ArchiveError: it is no head.
    """
    if block == _ZERO_BLOCK:
        return None
    # The checksum counts its own field as spaces.
    if _checksum(block) != _number(block[148:156]):
        raise ArchiveError("it holds no tar, or a damaged one: a checksum is wrong")
    name = _text(block[:100])
    prefix = block[345:500]
    if block[257:263] == b"ustar\0" and prefix[0]:
        name = f"{_text(prefix)}/{name}"
    kind = _KINDS.get(block[_TYPE_AT : _TYPE_AT + 1], Kind.REFUSED)
    # Tar of old marked folders so.
    if kind is Kind.FILE and name.endswith("/"):
        kind = Kind.FOLDER
    return Head(kind, name, _size(_number(block[124:136])))


def _checksum(block: bytes) -> int:
    spaced = block[:148] + b"        " + block[156:]
    # Adler's lower half is 1 and the sum, which of 256 bytes it holds undivided.
    halves = (zlib.adler32(spaced[:256]) & 0xFFFF, zlib.adler32(spaced[256:]) & 0xFFFF)
    return sum(halves) - 2


def with_extension(head: Head, extension: bytes) -> Head:
    """Apply POSIX attributes to the entry that they belong to.

    Raises:
        ArchiveError: they can't be read.
    """
    values: dict[bytes, bytes] = {}
    while extension:
        match = _PAX_RECORD.match(extension)
        length = int(match[1]) if match else 0
        if match is None or not match.end() < length <= len(extension):
            raise ArchiveError("an extended header is damaged")
        values[match[2]] = extension[match.end() : length - 1]
        extension = extension[length:]
    if any(key.startswith(b"GNU.sparse") for key in values):
        return attrs.evolve(head, kind=Kind.REFUSED)
    if b"path" in values:
        head = attrs.evolve(head, name=_text(values[b"path"]))
    if b"size" in values:
        if not values[b"size"].isdigit():
            raise ArchiveError("an extended header is damaged")
        head = attrs.evolve(head, size=_size(int(values[b"size"][:20])))
    return head


def with_name(head: Head, name: bytes) -> Head:
    """Apply a long name."""
    return attrs.evolve(head, name=_text(name))


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _size(size: int) -> int:
    if size > MAX_SIZE:
        raise ArchiveError("an entry claims to be larger than any disk")
    return size


def _number(field: bytes) -> int:
    """Octal digits, or base 256 when they don't suffice."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    match = _OCTAL.match(field)
    if match is None:
        raise ArchiveError("it holds no tar, or a damaged one: a number is none")
    return int(match[1] or b"0", 8)
