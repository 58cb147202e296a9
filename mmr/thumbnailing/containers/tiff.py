"""TIFF: a directory of tags, of which the picture needs a few."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import attrs

from mmr.thumbnailing.containers.base import Container
from mmr.thumbnailing.model import MAX_METADATA_BYTES, Refusal, Refused

_WIDTH, _HEIGHT, _ORIENTATION, _PROFILE = 256, 257, 274, 34675
# Layout, compression and colours; all else is about the picture (R32).
_KEPT = frozenset({256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284}) | {
    *(292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339, 347),
    *(*range(512, 522), 529, 530, 531, 532),
}
_NUMBERS = {3: "H", 4: "I", 16: "Q"}


@attrs.frozen
class _Layout:
    """How wide the fields are, and in which byte order."""

    order: str
    offset: str
    count: str
    entry_size: int
    first: int


def read_tiff(data: bytes) -> Container:
    """Read the first directory: the first page is what is shown.

    The clean file has no other page, and of this one only the tags that make the
    picture; the orientation is among those that go, so that it is applied once, by us.

    Raises:
        Refused: when the directory is cut off, or has no size.
    """
    layout = _layout(data)
    try:
        (start,) = struct.unpack_from(layout.order + layout.offset, data, layout.first)
        entries = list(_entries(data, start, layout))
    except struct.error:
        raise Refused(Refusal.BROKEN) from None
    values = {tag: _number(entry, layout) for tag, entry in entries}
    if not values.get(_WIDTH) or not values.get(_HEIGHT):
        raise Refused(Refusal.BROKEN)
    turn = values.get(_ORIENTATION, 1)
    profile = [entry for tag, entry in entries if tag == _PROFILE]
    return Container(
        values[_WIDTH],
        values[_HEIGHT],
        _with_entries(data, start, [e for tag, e in entries if tag in _KEPT], layout),
        turn if 1 <= turn <= 8 else 1,
        _blob(data, profile[0], layout) if profile else None,
    )


def _layout(data: bytes) -> _Layout:
    order = "<" if data[:2] == b"II" else ">"
    if 43 in data[2:4]:
        return _Layout(order, "Q", "Q", 20, 8)
    return _Layout(order, "I", "H", 12, 4)


def _entries(data: bytes, start: int, layout: _Layout) -> Iterator[tuple[int, bytes]]:
    (count,) = struct.unpack_from(layout.order + layout.count, data, start)
    at = start + struct.calcsize(layout.count)
    if at + count * layout.entry_size + struct.calcsize(layout.offset) > len(data):
        raise Refused(Refusal.BROKEN)
    for _ in range(count):
        (tag,) = struct.unpack_from(layout.order + "H", data, at)
        yield tag, data[at : at + layout.entry_size]
        at += layout.entry_size


def _number(entry: bytes, layout: _Layout) -> int:
    """The value of an entry that holds one number; 0 for others."""
    (kind,) = struct.unpack_from(layout.order + "H", entry, 2)
    if kind not in _NUMBERS or (kind == 16 and layout.offset == "I"):
        return 0
    at = 4 + struct.calcsize(layout.offset)
    return int(struct.unpack_from(layout.order + _NUMBERS[kind], entry, at)[0])


def _blob(data: bytes, entry: bytes, layout: _Layout) -> bytes | None:
    shape = layout.order + 2 * layout.offset
    length, at = struct.unpack_from(shape, entry, 4)
    if length > MAX_METADATA_BYTES or at + length > len(data):
        return None
    return data[at : at + length]


def _with_entries(
    data: bytes, start: int, entries: list[bytes], layout: _Layout
) -> bytes:
    """The file with fewer entries in its first directory, and no second one.

    They move up, so that nothing else has to.
    """
    directory = b"".join(
        (
            struct.pack(layout.order + layout.count, len(entries)),
            *entries,
            struct.pack(layout.order + layout.offset, 0),
        )
    )
    behind = memoryview(data)[start + len(directory) :]
    return b"".join((memoryview(data)[:start], directory, behind))
