"""What is shown in place of quarantined media (mmr-http-api §5.6). Blocks."""

from __future__ import annotations

import functools
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mmr.thumbnailing.model import MAX_SIDE
from mmr.thumbnailing.sizes import TargetSize, fit
from mmr.types import Method

DOWNLOAD_SIDE = 512
"""Pixels of the square that answers a download."""

_SIDE = 700
_ORANGE, _RED, _WHITE, _BLACK = (255, 186, 73), (190, 26, 25), "white", "black"
_CENTRE, _RADIUS, _STROKE = (350, 300), 256, 55
_TEXT, _TEXT_SIZE, _TEXT_MIDDLE = "MEDIA NOT ALLOWED", 64, (350, 628)
_OVERSAMPLING = 4


@functools.lru_cache(maxsize=64)
def quarantine_image(width: int, height: int, replacement: Path | None = None) -> bytes:
    """The PNG, fitted and centred on a transparent canvas.

    Args:
        width: Pixels of the canvas, already picked from the configured sizes.
        height: The same.
        replacement: ``quarantine.thumbnailPath``, the operator's own picture.

    Raises:
        OSError: when the operator's picture can't be read.
    """
    picture = _load(replacement) if replacement else _draw()
    width, height = min(width, MAX_SIDE), min(height, MAX_SIDE)
    size = fit(*picture.size, TargetSize(width, height, Method.SCALE))
    fitted = picture.resize((size.width, size.height), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    canvas.paste(fitted, ((width - size.width) // 2, (height - size.height) // 2))
    output = BytesIO()
    canvas.save(output, "PNG")
    return output.getvalue()


def _load(path: Path) -> Image.Image:
    """The operator's file is trusted: it comes from the configuration."""
    with Image.open(path) as image:
        return image.convert("RGBA")


@functools.lru_cache(maxsize=1)
def _draw() -> Image.Image:
    """A no-entry sign over the words, drawn large and shrunk for smooth edges."""
    scale = _OVERSAMPLING
    image = Image.new("RGB", (_SIDE * scale, _SIDE * scale), _ORANGE)
    pencil = ImageDraw.Draw(image)
    x, y = (at * scale for at in _CENTRE)
    # The stroke lies half outside and half inside the radius.
    for radius, colour in (
        (_RADIUS + _STROKE / 2, _RED),
        (_RADIUS - _STROKE / 2, _WHITE),
    ):
        pencil.circle((x, y), radius * scale, fill=colour)
    reach = _RADIUS * scale / 2**0.5
    bar = (x - reach, y - reach, x + reach, y + reach)
    pencil.line(bar, fill=_RED, width=_STROKE * scale)
    font = ImageFont.load_default(_TEXT_SIZE * scale)
    at = (_TEXT_MIDDLE[0] * scale, _TEXT_MIDDLE[1] * scale)
    pencil.text(at, _TEXT, fill=_BLACK, font=font, anchor="mm")
    return image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS).convert("RGBA")
