"""Blurhashes (MSC2448): a picture's colours in some thirty characters."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from io import BytesIO

from PIL import Image

from mmr.thumbnailing.model import BLURHASH_DIGITS, BlurhashSize, RenderOptions
from mmr.thumbnailing.renderers.base import Renderer
from mmr.thumbnailing.sizes import TargetSize
from mmr.types import Method

_Colour = tuple[float, float, float]


def blurhash_of(
    renderer: Renderer, data: bytes, size: BlurhashSize, options: RenderOptions
) -> str:
    """Draw the source small, and hash that. Decoders raise anything."""
    target = TargetSize(size.width, size.height, Method.CROP)
    (drawn,) = renderer.render(data, [target], options)
    image = Image.open(BytesIO(drawn.data), formats=["PNG", "JPEG"]).convert("RGB")
    return blurhash(image, size.across, size.down)


def blurhash(image: Image.Image, across: int, down: int) -> str:
    """The hash of an RGB image.

    Args:
        image: Small: the time is proportional to its pixels.
        across: Components, 1 to 9.
        down: The same.
    """
    average, *others = _components(image, across, down)
    loudest = max((abs(value) for colour in others for value in colour), default=0.0)
    scale = max(0, min(82, math.floor(loudest * 166 - 0.5))) if others else 0
    unit = (scale + 1) / 166
    return "".join(
        (
            _digits(across - 1 + 9 * (down - 1), 1),
            _digits(scale, 1),
            _digits(_number(map(_to_srgb, average), 256), 4),
            *(
                _digits(_number((_step(value / unit) for value in colour), 19), 2)
                for colour in others
            ),
        )
    )


def _components(image: Image.Image, across: int, down: int) -> list[_Colour]:
    """The cosine transform; the rows first, because the two directions are apart."""
    width, height = image.size
    linear = [_linear(value) for value in image.tobytes()]
    waves = [_wave(index, width) for index in range(across)]
    rows = []
    for at in range(0, len(linear), 3 * width):
        bands = [linear[at + band : at + 3 * width : 3] for band in range(3)]
        rows.append([[_dot(band, wave) for band in bands] for wave in waves])
    found = []
    for j in range(down):
        column = _wave(j, height)
        for i in range(across):
            norm = (1 if i == j == 0 else 2) / (width * height)
            red, green, blue = (
                norm * _dot([row[i][band] for row in rows], column) for band in range(3)
            )
            found.append((red, green, blue))
    return found


def _wave(index: int, length: int) -> list[float]:
    return [math.cos(math.pi * index * at / length) for at in range(length)]


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@functools.cache
def _linear(value: int) -> float:
    share = value / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


def _to_srgb(value: float) -> int:
    share = max(0.0, min(1.0, value))
    if share <= 0.0031308:
        return int(share * 12.92 * 255 + 0.5)
    return int((1.055 * share ** (1 / 2.4) - 0.055) * 255 + 0.5)


def _step(value: float) -> int:
    """A share of the loudest component in 19 steps, finer around nothing."""
    root = math.copysign(math.sqrt(abs(value)), value)
    return max(0, min(18, math.floor(root * 9 + 9.5)))


def _number(values: Iterable[int], base: int) -> int:
    return functools.reduce(lambda number, value: number * base + value, values, 0)


def _digits(number: int, length: int) -> str:
    powers = (83**place for place in reversed(range(length)))
    return "".join(BLURHASH_DIGITS[number // power % 83] for power in powers)
