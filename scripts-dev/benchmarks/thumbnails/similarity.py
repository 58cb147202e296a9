"""How alike two pictures look: SSIM of the brightness, over blocks of 8 by 8 pixels."""

from __future__ import annotations

from PIL import Image, ImageMath

_BLOCK = 8
# The usual constants: 1 % and 3 % of the range, squared.
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def similarity(one: Image.Image, other: Image.Image) -> float:
    """Give 1 for equal pictures, less for others.

    Raises:
        ValueError: When they differ in size.
    """
    if one.size != other.size:
        raise ValueError(f"{one.size} and {other.size} can't be compared")
    left, right = one.convert("L").convert("F"), other.convert("L").convert("F")
    x, y = left.reduce(_BLOCK), right.reduce(_BLOCK)
    xx, yy, xy = _product(left, left), _product(right, right), _product(left, right)
    scores = ImageMath.lambda_eval(
        lambda a: (
            (2 * a["x"] * a["y"] + _C1)
            * (2 * (a["xy"] - a["x"] * a["y"]) + _C2)
            / (a["x"] * a["x"] + a["y"] * a["y"] + _C1)
            / (a["xx"] - a["x"] * a["x"] + a["yy"] - a["y"] * a["y"] + _C2)
        ),
        x=x,
        y=y,
        xx=xx,
        yy=yy,
        xy=xy,
    )
    assert isinstance(scores, Image.Image)
    mean = scores.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(mean, float)
    return mean


def _product(one: Image.Image, other: Image.Image) -> Image.Image:
    """The mean of the products of their pixels, block by block."""
    product = ImageMath.lambda_eval(
        lambda a: a["one"] * a["other"], one=one, other=other
    )
    assert isinstance(product, Image.Image)
    return product.reduce(_BLOCK)
