"""HEIC and AVIF: boxes within boxes, with a list of items and their properties."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import attrs

from mmr.thumbnailing.model import MAX_METADATA_BYTES, Refusal, Refused

MAX_BOXES = 10_000
_META_ITEMS = (b"Exif", b"mime")
_SEQUENCES = (b"avis", b"hevc", b"hevx", b"hevm", b"hevs", b"msf1")

Span = tuple[bytes, int, int]
"""A box: its type, and where its body starts and ends."""


@attrs.frozen
class Item:
    """The primary item, with the properties that we use.

    Attributes:
        width: As coded, in pixels.
        height: The same.
        crop: Width and height of the clean aperture, if it has one.
        quarter_turns: Against the clock.
        mirror: Axis to mirror at, after turning: 0 swaps top and bottom, 1 left and
            right.
        icc: Colour profile.
        sizes: Of this item and all others: tiles, alpha, previews.
        is_sequence: The file has more frames.
        clean: The file, with the items of metadata made unreadable.
    """

    width: int
    height: int
    crop: tuple[int, int] | None
    quarter_turns: int
    mirror: int | None
    icc: bytes | None = attrs.field(repr=False)
    sizes: tuple[tuple[int, int], ...]
    is_sequence: bool
    clean: bytes = attrs.field(repr=False)


def read_bmff(data: bytes) -> Item:
    """Find the primary item.

    Raises:
        Refused: when the boxes don't fit together, or there is no such item.
    """
    try:
        return _Reader(data).item()
    except (struct.error, KeyError, IndexError):
        raise Refused(Refusal.BROKEN) from None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._boxes = 0

    def item(self) -> Item:
        data = self._data
        meta = {
            kind: (start, end)
            for kind, start, end in self._inside(0, len(data), b"meta", skip=4)
        }
        containers = self._children(*meta[b"iprp"])
        properties = self._children(
            *next((start, end) for kind, start, end in containers if kind == b"ipco")
        )
        primary = self._primary(*meta[b"pitm"])
        mine = [
            properties[index - 1]
            for kind, start, _ in containers
            if kind == b"ipma"
            for item, indices in self._associations(start)
            if item == primary
            for index in indices
            if index
        ]
        sizes = tuple(
            self._size(start) for kind, start, _ in properties if kind == b"ispe"
        )
        width, height = self._first(mine, b"ispe", ">II", 4) or (0, 0)
        (turns,) = self._first(mine, b"irot", ">B") or (0,)
        (mirror,) = self._first(mine, b"imir", ">B") or (None,)
        return Item(
            width,
            height,
            self._crop(mine),
            turns & 3,
            None if mirror is None else mirror & 1,
            self._profile(mine),
            sizes,
            self._brands_of_sequence(),
            self._without_metadata(meta.get(b"iinf")),
        )

    def _unpack(self, shape: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(shape, self._data, at)

    def _size(self, start: int) -> tuple[int, int]:
        width, height = self._unpack(">II", start + 4)
        return width, height

    def _children(self, start: int, end: int) -> list[Span]:
        return list(self._walk(start, end))

    def _walk(self, start: int, end: int) -> Iterator[Span]:
        while start + 8 <= end:
            self._boxes += 1
            if self._boxes > MAX_BOXES:
                raise Refused(Refusal.BROKEN)
            size, head = self._unpack(">I", start)[0], 8
            if size == 1:
                size, head = self._unpack(">Q", start + 8)[0], 16
            elif size == 0:
                size = end - start
            if size < head or start + size > end:
                raise Refused(Refusal.BROKEN)
            yield self._data[start + 4 : start + 8], start + head, start + size
            start += size

    def _inside(self, start: int, end: int, wanted: bytes, skip: int) -> list[Span]:
        """The boxes inside the first one of a type, behind its version."""
        for kind, body, body_end in self._walk(start, end):
            if kind == wanted:
                return self._children(body + skip, body_end)
        raise Refused(Refusal.BROKEN)

    def _primary(self, start: int, end: int) -> int:
        version = self._data[start]
        return self._unpack(">I" if version else ">H", start + 4)[0]

    def _associations(self, start: int) -> Iterator[tuple[int, list[int]]]:
        """Each item with the numbers of its properties, which count from 1."""
        version, wide = self._data[start], self._data[start + 3] & 1
        (count,) = self._unpack(">I", start + 4)
        at = start + 8
        for _ in range(min(count, MAX_BOXES)):
            (item,) = self._unpack(">I" if version else ">H", at)
            at += 4 if version else 2
            many = self._data[at]
            at += 1
            if wide:
                numbers = [n & 0x7FFF for n in self._unpack(f">{many}H", at)]
            else:
                numbers = [n & 0x7F for n in self._unpack(f">{many}B", at)]
            at += many * (1 + wide)
            yield item, numbers

    def _first(
        self, boxes: list[Span], wanted: bytes, shape: str, skip: int = 0
    ) -> tuple[int, ...] | None:
        for kind, start, _ in boxes:
            if kind == wanted:
                return self._unpack(shape, start + skip)
        return None

    def _crop(self, boxes: list[Span]) -> tuple[int, int] | None:
        found = self._first(boxes, b"clap", ">4I")
        if found is None:
            return None
        width, per_width, height, per_height = found
        if not per_width or not per_height:
            raise Refused(Refusal.BROKEN)
        return width // per_width, height // per_height

    def _profile(self, boxes: list[Span]) -> bytes | None:
        for kind, start, end in boxes:
            named = self._data[start : start + 4]
            if kind == b"colr" and named in (b"prof", b"rICC"):
                small = end - start <= MAX_METADATA_BYTES
                return self._data[start + 4 : end] if small else None
        return None

    def _brands_of_sequence(self) -> bool:
        (length,) = self._unpack(">I", 0)
        brands = self._data[8 : min(length, 4096)]
        return any(brands[at : at + 4] in _SEQUENCES for at in range(0, 4096, 4))

    def _without_metadata(self, infos: tuple[int, int] | None) -> bytes:
        """Give the items of metadata a type that nobody knows; nothing moves (R32)."""
        if infos is None:
            return self._data
        start, end = infos
        entries = start + (8 if self._data[start] else 6)
        pieces: list[bytes | memoryview] = []
        copied = 0
        for kind, body, _ in self._children(entries, end):
            at = body + (10 if self._data[body] == 3 else 8)
            if kind == b"infe" and self._data[at : at + 4] in _META_ITEMS:
                pieces += [memoryview(self._data)[copied:at], b"skip"]
                copied = at + 4
        if not pieces:
            return self._data
        return b"".join([*pieces, memoryview(self._data)[copied:]])
