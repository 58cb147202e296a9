"""Structured data of pages (schema.org in JSON-LD), as a fallback."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from mmr.previews import bounded_json
from mmr.previews.images import dimension
from mmr.previews.model import ImageCandidate
from mmr.previews.urls import http_url

MAX_NODES = 200
# These say something of the site, or of parts of the page.
_BESIDE_THE_POINT = frozenset(
    "AggregateRating BreadcrumbList Brand Comment ImageObject ItemList ListItem Offer"
    " Organization NewsMediaOrganization Person Rating Review SearchAction"
    " SiteNavigationElement WebSite".split()
)


@attrs.frozen
class Structured:
    """What the data says of the page's subject; texts as found, empty when absent."""

    title: str = ""
    description: str = ""
    site_name: str = ""
    images: tuple[ImageCandidate, ...] = ()


def read(scripts: Iterable[str], base: str) -> Structured:
    """The first thing that has a name."""
    for script in scripts:
        try:
            root = bounded_json.loads(script)
        except ValueError:
            continue
        for node in _nodes(root):
            title = _string(node.get("headline")) or _string(node.get("name"))
            if title and _types(node).isdisjoint(_BESIDE_THE_POINT):
                return _structured(node, title, base)
    return Structured()


def _structured(node: dict[str, Any], title: str, base: str) -> Structured:
    publisher = node.get("publisher")
    images = [
        *_images(node.get("image"), base),
        *_images(node.get("thumbnailUrl"), base),
    ]
    return Structured(
        title,
        _string(node.get("description")),
        _string(publisher.get("name")) if isinstance(publisher, dict) else "",
        tuple(images),
    )


def _nodes(root: Any) -> Iterator[dict[str, Any]]:
    """Things at the top, and those that are named as the page's subject."""
    waiting = deque([root])
    for _ in range(MAX_NODES):
        if not waiting:
            return
        node = waiting.popleft()
        if isinstance(node, list):
            waiting.extend(node[:MAX_NODES])
        elif isinstance(node, dict):
            yield node
            waiting.extend((node.get("@graph"), node.get("mainEntity")))


def _types(node: dict[str, Any]) -> set[str]:
    found = node.get("@type")
    return {kind for kind in _as_list(found) if isinstance(kind, str)}


def _images(value: Any, base: str) -> Iterator[ImageCandidate]:
    for item in _as_list(value):
        width = height = None
        if isinstance(item, dict):
            width, height = dimension(item.get("width")), dimension(item.get("height"))
            item = item.get("url") or item.get("contentUrl")
        url = http_url(_string(item), base)
        if url is not None:
            yield ImageCandidate(url, width, height)


def _as_list(value: Any) -> list[Any]:
    return value[:MAX_NODES] if isinstance(value, list) else [value]


def _string(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
