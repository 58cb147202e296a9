"""Which image of a page stands for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mmr.previews.model import MAX_IMAGES, ImageCandidate
from mmr.previews.scan import FoundImage
from mmr.previews.urls import http_url

MAX_SIDE = 20_000
"""Pixels that are believed."""
_MIN_SIDE = 10
_SENSIBLE_SIDE = 50
_MAX_RATIO = 5
_MAX_WIDTH = 2048

_DIMENSION = re.compile(r"\A\s*+([0-9]{1,5})(?:\.[0-9]*+)?(?:px)?\s*+\Z")
# An address that ends with a comma has no size behind it.
_SOURCE = re.compile(
    r"([^\s,]\S*+)(?:(?<!,)(?:\s++([0-9]{1,5})(?:\.[0-9]++)?[wx])?[^,]*+)?"
)
# Scripts fill in the real address from one of these when the image scrolls into view.
_LATE_SOURCES = ("data-src", "data-original", "data-lazy-src", "data-lazy")
_LATE_SETS = ("data-srcset", "data-lazy-srcset")
_DECORATION = re.compile(
    r"(?<![^/_.\-])(?:1x1|blank|emoji|favicon|icon|loader|loading|pixel|placeholder"
    r"|smil(?:ey|ie)|spacer|sprite|transparent)s?(?=[/_.\-0-9]|$)",
    re.I,
)


def dimension(value: Any) -> int | None:
    """Pixels, if it is a believable number of them (R27)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    match = _DIMENSION.match(str(value)[:12])
    pixels = int(match[1]) if match else 0
    return pixels if 1 <= pixels <= MAX_SIDE else None


def best_images(found: Iterable[FoundImage], base: str) -> list[ImageCandidate]:
    """Images of the page's text, the best first.

    The largest wins, of those with a known and sensible size; then those of unknown
    size, as they come; then small ones and those around the text. Never decoration.
    """
    ranked = []
    sources = ""
    for image in found:
        if image.is_source:
            # In a `picture`, the `img` that follows is drawn from these.
            sources = sources or image.attributes.get("srcset", "")
            continue
        candidate = _candidate(image.attributes, sources, base)
        sources = ""
        if candidate is not None:
            ranked.append((_rank(candidate, image.is_chrome), candidate))
    ranked.sort(key=lambda pair: pair[0])
    return unique(candidate for _, candidate in ranked)


def unique(candidates: Iterable[ImageCandidate]) -> list[ImageCandidate]:
    """The first of each URL, and no more than are kept."""
    by_url: dict[str, ImageCandidate] = {}
    for candidate in candidates:
        if len(by_url) < MAX_IMAGES:
            by_url.setdefault(candidate.url, candidate)
    return list(by_url.values())


def _rank(image: ImageCandidate, is_chrome: bool) -> tuple[bool, int, int]:
    """Small is good."""
    if image.width is None or image.height is None:
        return is_chrome, 1, 0
    short, long = sorted((image.width, image.height))
    is_sensible = short >= _SENSIBLE_SIDE and long <= short * _MAX_RATIO
    return is_chrome, 0 if is_sensible else 2, -image.width * image.height


def _candidate(
    attributes: Mapping[str, str], sources: str, base: str
) -> ImageCandidate | None:
    width = dimension(attributes.get("width", ""))
    height = dimension(attributes.get("height", ""))
    if any(side is not None and side < _MIN_SIDE for side in (width, height)):
        return None
    for address in _addresses(attributes, sources):
        url = http_url(address, base)
        if url is not None and not _DECORATION.search(address):
            return ImageCandidate(url, width, height)
    return None


def _addresses(attributes: Mapping[str, str], sources: str) -> Iterable[str]:
    """Where the image may be, the likeliest first."""
    for name in _LATE_SETS:
        yield _largest(attributes.get(name, ""))
    for name in _LATE_SOURCES:
        yield attributes.get(name, "")
    yield _largest(attributes.get("srcset", ""))
    yield attributes.get("src", "")
    yield _largest(sources)


def _largest(source_set: str) -> str:
    """Of a ``srcset``, the widest that isn't too wide."""
    best, best_size = "", -1
    for match in _SOURCE.finditer(source_set):
        address, number = match.groups()
        size = int(number) if number else 1
        if best_size < size <= _MAX_WIDTH and not address.startswith("data:"):
            best, best_size = address.rstrip(","), size
    return best
