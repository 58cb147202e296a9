"""A page of HTML to its preview. Pure, and slow for large pages: see `pool`."""

from __future__ import annotations

import re

from mmr.previews import json_ld
from mmr.previews.charset import decode
from mmr.previews.images import best_images, unique
from mmr.previews.model import (
    ImageCandidate,
    PageResult,
    Preview,
    PreviewOptions,
)
from mmr.previews.open_graph import OpenGraph
from mmr.previews.scan import Scan, scan
from mmr.previews.text import clean, shorten
from mmr.previews.urls import http_url

MAX_PARSED_BYTES = 4 << 20
"""Of a page; all that matters is at its beginning (R24)."""

_XHTML = "application/xhtml+xml"
# In XML these are empty; in HTML they would swallow the rest of the page.
_SELF_CLOSED = re.compile(
    r"<(script|style|title|iframe|textarea|noscript|template)\b([^<>]*+)(?<=/)>"
)
_OEMBED_TYPE = "application/json+oembed"


def preview_page(
    html: bytes, content_type: str, url: str, options: PreviewOptions
) -> PageResult:
    """Make a preview of a page, with whatever can be found in it.

    Args:
        html: Its bytes; of more than `MAX_PARSED_BYTES` only the beginning is read.
        content_type: The header of the answer.
        url: Where it was found, after redirects; absolute, http(s).
        options: How much text is kept.
    """
    text = decode(html[:MAX_PARSED_BYTES], content_type)
    if content_type.strip().lower().startswith(_XHTML):
        text = _SELF_CLOSED.sub(r"<\1\2></\1>", text)
    found = scan(text)
    base = http_url(found.base, url) or url
    graph = OpenGraph.read(found.metas)
    structured = json_ld.read(found.json_ld, base)
    preview = Preview(
        url=http_url(graph.texts.get("url", ""), base) or url,
        site_name=_one_line(_site_name(graph, structured), options),
        resource_type=_one_line(graph.texts.get("type", ""), options),
        title=_one_line(_title(found, graph, structured), options),
        description=shorten(
            _description(found, graph, structured),
            options.num_words,
            options.max_length,
        ),
        images=tuple(_images(found, graph, structured, base)),
    )
    return PageResult(preview, _oembed_url(found, base), graph.is_present)


def _one_line(text: str, options: PreviewOptions) -> str:
    return shorten(text, options.num_title_words, options.max_title_length)


def _first(*texts: str | None) -> str:
    """The first that has something to show."""
    return next((text for text in texts if text and clean(text)), "")


def _title(found: Scan, graph: OpenGraph, structured: json_ld.Structured) -> str:
    own = graph.texts.get
    return _first(
        own("title"),
        own("twitter_title"),
        *(found.texts.get(tag) for tag in ("title", "h1", "h2", "h3")),
        found.texts.get("itemprop:headline"),
        structured.title,
        found.texts.get("itemprop:name"),
        found.texts.get("p-name"),
    )


def _description(found: Scan, graph: OpenGraph, structured: json_ld.Structured) -> str:
    own = graph.texts.get
    return _first(
        own("description"),
        own("twitter_description"),
        own("plain_description"),
        found.texts.get("itemprop:description"),
        structured.description,
        found.texts.get("p-summary"),
        found.body,
    )


def _site_name(graph: OpenGraph, structured: json_ld.Structured) -> str:
    own = graph.texts.get
    return _first(
        own("site_name"),
        own("application_name"),
        structured.site_name,
        own("twitter_site"),
    )


def _images(
    found: Scan, graph: OpenGraph, structured: json_ld.Structured, base: str
) -> list[ImageCandidate]:
    named = [found.texts.get("itemprop:image", "")]
    named += [
        link.get("href", "") for link in found.links if _is_image(link.get("rel"))
    ]
    urls = [http_url(address, base) for address in named]
    return unique(
        [
            *graph.images(base),
            *structured.images,
            *(ImageCandidate(url) for url in urls if url is not None),
            *best_images(found.images, base),
        ]
    )


def _is_image(rel: str | None) -> bool:
    return "image_src" in (rel or "").lower().split()


def _oembed_url(found: Scan, base: str) -> str | None:
    for link in found.links:
        kind = link.get("type", "").strip().lower()
        if kind == _OEMBED_TYPE and not _is_image(link.get("rel")):
            url = http_url(link.get("href", ""), base)
            if url is not None:
                return url
    return None
