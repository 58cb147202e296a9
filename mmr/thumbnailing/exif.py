"""The one thing that we want from EXIF: which way is up.

Read here and not by the image library, which parses the whole block and fails, or
warns, on its damage (R32).
"""

from __future__ import annotations

_ORIENTATION = 0x0112
_SHORT = 3


def orientation(block: bytes) -> int:
    """The orientation 1 to 8 from an EXIF block; 1 for an absent or broken one."""
    tiff = block.removeprefix(b"Exif\x00\x00")
    order = {b"II*\x00": "little", b"MM\x00*": "big"}.get(tiff[:4])
    if order == "little":
        return _from_directory(tiff, "little")
    return _from_directory(tiff, "big") if order == "big" else 1


def _from_directory(tiff: bytes, order: str) -> int:
    def number(at: int, size: int) -> int:
        return int.from_bytes(
            tiff[at : at + size], "little" if order == "little" else "big"
        )

    start = number(4, 4)
    for at in range(start + 2, start + 2 + 12 * number(start, 2), 12):
        if at + 12 > len(tiff):
            break
        if number(at, 2) == _ORIENTATION and number(at + 2, 2) == _SHORT:
            value = number(at + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1


def swaps_sides(value: int) -> bool:
    """Whether this orientation turns the picture by a quarter."""
    return value >= 5
