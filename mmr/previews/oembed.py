"""oEmbed: which provider to ask about a URL, and what its answer says.

Answers are read as JSON only (R25). See mmr-http-api §7.3.
"""

from __future__ import annotations

import html
import importlib.resources
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import attrs

from mmr.previews import bounded_json
from mmr.previews.images import dimension
from mmr.previews.model import ImageCandidate, Preview, PreviewOptions
from mmr.previews.scan import scan
from mmr.previews.text import clean, shorten
from mmr.previews.urls import http_url

MAX_ANSWER_BYTES = 40_000

_TYPES = frozenset({"photo", "video", "link", "rich"})


@attrs.frozen
class _Pattern:
    """One URL scheme of a provider, taken apart at its wildcards."""

    host: tuple[str, ...]
    path: tuple[str, ...]

    @classmethod
    def parse(cls, scheme: str) -> _Pattern | None:
        """None for what isn't about web pages."""
        protocol, separator, rest = scheme.partition("://")
        if protocol not in ("http", "https") or not separator:
            return None
        host, _, path = rest.partition("/")
        return cls(tuple(host.lower().split("*")), tuple(f"/{path}".split("*")))

    def matches(self, host: str, path: str) -> bool:
        """Whether both match; a wildcard for the host never reaches into the path."""
        return _glob(self.host, host) and _glob(self.path, path)


def _glob(pieces: tuple[str, ...], text: str) -> bool:
    """Whether the text is the pieces with anything between them. One pass, no regex."""
    if len(pieces) == 1:
        return text == pieces[0]
    first, *between, last = pieces
    end = len(text) - len(last)
    if not (text.startswith(first) and text.endswith(last)):
        return False
    at = len(first)
    for piece in between:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return at <= end


@attrs.frozen
class _Endpoint:
    provider_name: str
    url: str
    patterns: tuple[_Pattern, ...]


class Providers:
    """The list of providers, in the format of oembed.com.

    Args:
        endpoints: In order: the first that matches is asked.
    """

    def __init__(self, endpoints: tuple[_Endpoint, ...]) -> None:
        self._endpoints = endpoints

    @classmethod
    def load(cls, data: bytes | str) -> Providers:
        """Read a list.

        Raises:
            ValueError: when it isn't one.
        """
        try:
            providers = json.loads(data)
            return cls(tuple(e for p in providers for e in _endpoints(p)))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a list of oEmbed providers") from error

    @classmethod
    def bundled(cls) -> Providers:
        """The list that we ship. Reads a file."""
        folder = importlib.resources.files("mmr.previews")
        return cls.load(folder.joinpath("data", "providers.json").read_bytes())

    def __len__(self) -> int:
        return len(self._endpoints)

    def endpoint_for(self, url: str) -> str | None:
        """The request URL that asks about a URL, if somebody can be asked."""
        endpoint = self._find(url)
        if endpoint is None:
            return None
        separator = "&" if "?" in endpoint.url else "?"
        return f"{endpoint.url}{separator}format=json&url={quote(url, safe='')}"

    def name_for(self, url: str) -> str:
        """What the provider of a URL is called; empty when there is none."""
        endpoint = self._find(url)
        return endpoint.provider_name if endpoint else ""

    def _find(self, url: str) -> _Endpoint | None:
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            return None
        path = parts.path or "/"
        if parts.query:
            path = f"{path}?{parts.query}"
        for endpoint in self._endpoints:
            if any(pattern.matches(host, path) for pattern in endpoint.patterns):
                return endpoint
        return None


def _endpoints(provider: dict[str, Any]) -> Iterator[_Endpoint]:
    for endpoint in provider["endpoints"]:
        if "json" not in endpoint.get("formats", ["json"]):
            continue
        schemes = endpoint.get("schemes") or [
            provider["provider_url"].rstrip("/") + "/*"
        ]
        patterns = (_Pattern.parse(scheme) for scheme in schemes)
        yield _Endpoint(
            str(provider["provider_name"]),
            endpoint["url"].replace("{format}", "json").replace("/*", ""),
            tuple(pattern for pattern in patterns if pattern is not None),
        )


def preview_oembed(
    answer: bytes, url: str, provider_name: str, options: PreviewOptions
) -> Preview | None:
    """Make a preview of a provider's answer.

    Args:
        answer: Its body.
        url: The URL that was asked about; absolute, http(s).
        provider_name: Stands in when the answer names none.
        options: How much text is kept.

    Returns:
        None when the answer is of no use.
    """
    fields = _fields(answer)
    kind = fields.get("type", "")
    if kind not in _TYPES:
        return None
    # A photo's address is that of the file.
    page = "" if kind == "photo" else fields.get("url", "")
    preview = Preview(
        url=http_url(page, url) or url,
        site_name=_one_line(fields.get("provider_name") or provider_name, options),
        resource_type=kind,
        title=_one_line(fields.get("title") or fields.get("author_name", ""), options),
        description=shorten(
            _description(fields, kind), options.num_words, options.max_length
        ),
        images=_images(fields, kind, url),
    )
    return None if preview.is_empty else preview


def _fields(answer: bytes) -> dict[str, str]:
    """The texts and numbers at the top of the answer, as text."""
    if len(answer) > MAX_ANSWER_BYTES:
        return {}
    try:
        found = bounded_json.loads(answer.decode("utf-8-sig", "replace"))
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        key: str(value)
        for key, value in found.items()
        if isinstance(value, (str, int, float))
    }


def _one_line(text: str, options: PreviewOptions) -> str:
    # Many providers escape their texts as if for HTML.
    return shorten(
        html.unescape(text), options.num_title_words, options.max_title_length
    )


def _description(fields: dict[str, str], kind: str) -> str:
    described = html.unescape(fields.get("description", ""))
    if kind == "rich" and not clean(described):
        return scan(fields.get("html", "")).body
    return described


def _images(fields: dict[str, str], kind: str, url: str) -> tuple[ImageCandidate, ...]:
    found = []
    if kind == "photo":
        found.append(("url", "width", "height"))
    found.append(("thumbnail_url", "thumbnail_width", "thumbnail_height"))
    images = []
    for address, width, height in found:
        image_url = http_url(fields.get(address, ""), url)
        if image_url is not None:
            pixels = dimension(fields.get(width)), dimension(fields.get(height))
            images.append(ImageCandidate(image_url, *pixels))
    return tuple(images)
