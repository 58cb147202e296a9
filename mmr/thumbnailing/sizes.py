"""Which size a request gets, and how a picture is fitted into it. Pure arithmetic.

All of it in whole numbers: a thumbnail's size is part of its cache key, and floating
point would move it by a pixel now and then.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from mmr.thumbnailing.model import ImageInfo
from mmr.thumbnailing.programs import family_of
from mmr.types import Method

DEFAULT_SIZES = ((32, 32), (96, 96), (320, 240), (640, 480), (800, 600))


@attrs.frozen
class TargetSize:
    """A box to draw into, and how; part of a thumbnail's cache key.

    Attributes:
        animated: Keep an animation moving, if the source is one within the limits.
        webp: The client takes WebP: what would be PNG or JPEG becomes that.
    """

    width: int
    height: int
    method: Method
    animated: bool = False
    webp: bool = False


@attrs.frozen
class Fit:
    """Where the pixels come from and how many come out.

    Attributes:
        width: Of the thumbnail.
        height: Of the thumbnail.
        box: Left, upper, right, lower of the part of the source that is shown.
    """

    width: int
    height: int
    box: tuple[float, float, float, float]


def pick_size(
    sizes: Iterable[tuple[int, int]],
    width: int,
    height: int,
    method: Method,
    *,
    dynamic: bool = False,
) -> TargetSize:
    """The size to make for a request (mmr-http-api §6.2).

    Args:
        sizes: ``thumbnails.sizes``, in the operator's order.
        width: Wanted, positive; may be absurdly large.
        height: The same.
        method: How it will be fitted.
        dynamic: ``thumbnails.dynamicSizing``: any size up to the largest configured.
    """
    listed = tuple(sizes) or DEFAULT_SIZES
    if (width, height) in listed:
        return TargetSize(width, height, method)
    largest = max(w for w, _ in listed), max(h for _, h in listed)
    if dynamic:
        return TargetSize(min(largest[0], width), min(largest[1], height), method)
    box = _smallest_covering(listed, width, height) or largest
    if method is Method.CROP:
        box = _with_aspect_of(width, height, box)
    return TargetSize(*box, method)


def _smallest_covering(
    listed: tuple[tuple[int, int], ...], width: int, height: int
) -> tuple[int, int] | None:
    best: tuple[int, int] | None = None
    for size in listed:
        if size[0] < width or size[1] < height:
            continue
        if best is None or (size[0] < best[0] and size[1] < best[1]):
            best = size
    return best


def _with_aspect_of(width: int, height: int, box: tuple[int, int]) -> tuple[int, int]:
    """The largest size with the aspect of width to height inside the box."""
    if box[0] * height <= box[1] * width:
        return box[0], max(1, height * box[0] // width)
    return max(1, width * box[1] // height), box[1]


def fits(info: ImageInfo, target: TargetSize) -> bool:
    """Whether the original itself is the answer: a picture no larger than the box."""
    if family_of(info.content_type) is not None:
        return False
    return info.width <= target.width and info.height <= target.height


def fit(width: int, height: int, target: TargetSize) -> Fit:
    """How a source of this size (after rotation) is drawn for the target.

    ``scale`` fits inside the box; ``crop`` covers it from the centre. Neither enlarges
    (spec, "Thumbnails"): a crop of a source that is smaller than the box on one side
    keeps the box's aspect at the size the source allows.
    """
    box = target.width, target.height
    if target.method is Method.SCALE:
        inside = (width, height) if width <= box[0] and height <= box[1] else None
        return Fit(
            *(inside or _with_aspect_of(width, height, box)), (0, 0, width, height)
        )
    if box[0] > width or box[1] > height:
        box = _with_aspect_of(*box, (width, height))
    return Fit(*box, _centred(width, height, box))


def _centred(
    width: int, height: int, shape: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The largest part of the source with that shape, around its centre."""
    part_width, part_height = float(width), float(height)
    if width * shape[1] > height * shape[0]:
        part_width = height * shape[0] / shape[1]
    else:
        part_height = width * shape[1] / shape[0]
    left, upper = (width - part_width) / 2, (height - part_height) / 2
    return left, upper, left + part_width, upper + part_height
