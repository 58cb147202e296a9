"""Pictures for tests."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

SAMPLE = Path(__file__).resolve().parents[2] / "scripts" / "sample.jpg"


def size_of(image: bytes) -> tuple[int, int]:
    """Width and height."""
    with Image.open(io.BytesIO(image)) as opened:
        return opened.size
