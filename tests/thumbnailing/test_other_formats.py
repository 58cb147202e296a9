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


FILES = {
    format: data
    for format in sorted(set(Image.SAVE) - OURS)
    if (data := written(format)) is not None
}


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
    assert {"EPS", "ICNS", "ICO", "PCX", "PDF", "PPM", "TGA"} <= set(FILES)
