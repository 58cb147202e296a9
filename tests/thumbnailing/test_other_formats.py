"""What the image library could read besides, and never gets to see (R29)."""

from __future__ import annotations

import contextlib
import io

import pytest
from PIL import Image

from tests.thumbnailing.rendering import answered

Image.init()
# Those that have a renderer, under all their names.
OURS = frozenset(
    ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JXL", "MPO", "PNG", "TIFF", "WEBP")
)
_MODES = ("RGB", "RGBA", "L", "1", "P")


def written(format: str) -> bytes | None:
    """A picture in that format, in the first of the modes that it takes."""
    for mode in _MODES:
        out = io.BytesIO()
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            Image.new(mode, (64, 64)).save(out, format)
            return out.getvalue()
    return None


# How files begin that the library reads and never writes.
_READ_ONLY = {
    "BUFR": b"BUFR",
    "CUR": b"\0\0\2\0",
    "DCX": (987654321).to_bytes(4, "little"),
    "FITS": b"SIMPLE  =                    T",
    "FLI": b"\0\0\0\0\x11\xaf\0\0\0\0\0\0\0\0\3\0",
    "FTEX": b"FTEX",
    "GBR": b"\0\0\0\x1c\0\0\0\2",
    "GRIB": b"GRIB\0\0\0\1",
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "MCIDAS": b"\0\0\0\0\0\0\0\4",
    "PIXAR": b"\x80\xe8\0\0",
    "PSD": b"8BPS\0\1",
    "SUN": b"\x59\xa6\x6a\x95",
    "WMF": b"\xd7\xcd\xc6\x9a\0\0",
    "XPM": b"/* XPM */",
    "XVTHUMB": b"P7 332",
}
_WRITTEN = {
    format: data
    for format in sorted(set(Image.SAVE) - OURS)
    if (data := written(format)) is not None
}
FILES = _WRITTEN | {name: head + bytes(500) for name, head in _READ_ONLY.items()}


@pytest.mark.parametrize("format", FILES)
def test_no_other_format_reaches_the_library(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R29: one file of each, labelled ``image/png``."""
    opened: list[object] = []
    monkeypatch.setattr(Image, "open", lambda *args, **_: opened.append(args))
    assert answered(FILES[format]).refusal is not None
    assert opened == []


def test_there_are_such_formats() -> None:
    assert {"EPS", "ICNS", "ICO", "PCX", "PDF", "PPM", "TGA"} <= set(_WRITTEN)
    assert set(_READ_ONLY) <= set(Image.OPEN)
