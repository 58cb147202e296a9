"""URLs found in pages."""

from __future__ import annotations

import re
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from mmr.previews.text import clean

MAX_URL_LENGTH = 2048
# Browsers escape all others.
_KEPT = "!$%&'()*+,-./:;=?@[]_~"
_WHITE_SPACE = re.compile(r"\s")


def http_url(found: str, base: str) -> str | None:
    """A URL as found in a page, made absolute; None for anything but http(s) (R27).

    Args:
        found: The attribute's value.
        base: What relative URLs are relative to; absolute, http(s).
    """
    found = found.strip()
    if not found or len(found) > MAX_URL_LENGTH:
        return None
    try:
        parts = urlsplit(urljoin(base, found))
    except ValueError:
        return None
    host = parts.netloc
    if parts.scheme not in ("http", "https") or not host or "@" in host:
        return None
    if clean(host) != host or _WHITE_SPACE.search(host):
        return None
    path = quote(parts.path, _KEPT, errors="replace")
    query = quote(parts.query, _KEPT, errors="replace")
    url = urlunsplit((parts.scheme, host, path, query, ""))
    return url if len(url) <= MAX_URL_LENGTH else None
