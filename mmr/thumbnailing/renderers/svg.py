"""SVG, by librsvg's program (R38).

It reads its standard input, so a drawing has no address from which it could load
something, and the worker's confinement has neither files nor a network. Entities are
refused here, before it sees them. Text is drawn with the system's fonts.
"""

from __future__ import annotations

import math
import re
from io import BytesIO
from typing import NoReturn
from xml.parsers import expat

from PIL import Image

from mmr.thumbnailing.model import Refusal, Refused
from mmr.thumbnailing.programs import run, source_file
from mmr.thumbnailing.renderers.outside import VectorRenderer

_DEFAULT_SIZE = (300.0, 150.0)
_SECONDS = 8.0
_ROOTS = frozenset({"svg", "http://www.w3.org/2000/svg svg"})
_ENCODINGS = frozenset({"utf-8", "us-ascii", "iso-8859-1"})
_LENGTH = re.compile(
    r"\s*\+?([0-9]*\.?[0-9]+(?:e[+-]?[0-9]{1,2})?)\s*([a-z]*)\s*", re.I
)
_PIXELS = {"": 1.0, "px": 1.0, "pt": 96 / 72, "pc": 16.0, "in": 96.0}
_PIXELS |= {"mm": 96 / 25.4, "cm": 96 / 2.54}


class SvgRenderer(VectorRenderer):
    """SVG. The size of the drawing is settled before anything is drawn."""

    content_type = "image/svg+xml"

    def measure(self, data: bytes) -> tuple[float, float]:
        """What the first element says."""
        return _size(_root_attributes(data))

    def draw(self, data: bytes, width: int, height: int) -> Image.Image:
        """Draw it."""
        size = ["--width", str(width), "--height", str(height)]
        with source_file(data) as path, open(path, "rb") as source:
            png = run(
                "rsvg-convert",
                ["--format", "png", *size],
                seconds=_SECONDS,
                source=source,
            )
        image = Image.open(BytesIO(png), formats=["PNG"])
        if image.size != (width, height):
            raise Refused(Refusal.BROKEN)
        return image


class _Found(Exception):
    """The first element was seen: nothing else is of interest."""


def _root_attributes(data: bytes) -> dict[str, str]:
    """The attributes of the first element, which must be SVG's.

    Raises:
        Refused: for other XML, for entities, and for encodings that could hide them.
    """
    found: dict[str, str] = {}

    def start(name: str, attributes: dict[str, str]) -> NoReturn:
        if name not in _ROOTS:
            raise Refused(Refusal.UNSUPPORTED)
        found.update(attributes)
        raise _Found

    def declaration(version: str, encoding: str | None, standalone: int) -> None:
        if (encoding or "utf-8").lower() not in _ENCODINGS:
            raise Refused(Refusal.UNSUPPORTED)

    if b"<!ENTITY" in data or b"\0" in data:
        raise Refused(Refusal.UNSUPPORTED)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.XmlDeclHandler = declaration
    try:
        parser.Parse(data, True)
    except _Found:
        return found
    except expat.ExpatError:
        pass
    raise Refused(Refusal.BROKEN)


def _size(attributes: dict[str, str]) -> tuple[float, float]:
    """Width and height in CSS pixels, or those of the view box."""
    width = _pixels(attributes.get("width", ""))
    height = _pixels(attributes.get("height", ""))
    box = [_number(part) for part in re.split(r"[\s,]+", attributes.get("viewBox", ""))]
    if len(box) == 4 and box[2] > 0 and box[3] > 0:
        aspect = box[2] / box[3]
        width = width or (height * aspect if height else box[2])
        height = height or width / aspect
    width, height = width or _DEFAULT_SIZE[0], height or _DEFAULT_SIZE[1]
    if not 0 < width < math.inf or not 0 < height < math.inf:
        raise Refused(Refusal.BROKEN)
    return width, height


def _pixels(length: str) -> float:
    """A length; 0 for those that depend on a page, and for nonsense."""
    match = _LENGTH.fullmatch(length)
    return float(match[1]) * _PIXELS.get(match[2].lower(), 0.0) if match else 0.0


def _number(text: str) -> float:
    try:
        return float(text[:32])
    except ValueError:
        return 0.0
