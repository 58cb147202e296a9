"""Pictures for those who have none (mmr-http-api §8.4). Blocks for milliseconds."""

from __future__ import annotations

import hashlib
from io import BytesIO

from PIL import Image, ImageDraw

MIN_SIDE, MAX_SIDE = 96, 512

_COLOURS = (
    (45, 79, 255),
    (254, 180, 44),
    (226, 121, 234),
    (30, 179, 253),
    (232, 77, 65),
    (49, 203, 115),
    (141, 69, 170),
)
_BACKGROUND = (224, 224, 224)
_CELLS = 5


def clamp_side(side: int) -> int:
    """A side that we draw, for one that was asked for."""
    return min(max(side, MIN_SIDE), MAX_SIDE)


def draw_identicon(
    seed: str, width: int = MIN_SIDE, height: int | None = None
) -> bytes:
    """Draw the PNG that belongs to a seed.

    Args:
        seed: The rest of the request's path, with its leading slash, as MMR 1.3 does.
        width: Pixels; clamped to 96 to 512.
        height: The same; the width when not given.
    """
    digest = hashlib.md5(seed.encode(), usedforsecurity=False).digest()
    side = clamp_side(width)
    image = _draw_square(digest, side)
    if height is not None and clamp_side(height) != side:
        image = image.resize((side, clamp_side(height)), Image.Resampling.LANCZOS)
    output = BytesIO()
    image.save(output, "PNG")
    return output.getvalue()


def _draw_square(digest: bytes, side: int) -> Image.Image:
    image = Image.new("RGB", (side, side), _BACKGROUND)
    pencil = ImageDraw.Draw(image)
    colour = _COLOURS[digest[0] % len(_COLOURS)]
    cell = side // (_CELLS + 1)
    for column, row in _cells(digest):
        left, upper = (cell // 2 + cell * place for place in (column, row))
        pencil.rectangle((left, upper, left + cell - 1, upper + cell - 1), fill=colour)
    return image


def _cells(digest: bytes) -> list[tuple[int, int]]:
    """Column and row of the cells that are on: 15 bits, mirrored left to right."""
    cells = []
    for index in range(3 * _CELLS):
        if digest[1 + index // 8] >> (7 - index % 8) & 1:
            column, row = divmod(index, _CELLS)
            cells += [(column, row), (_CELLS - 1 - column, row)]
    return cells
