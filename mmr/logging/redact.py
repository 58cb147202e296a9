"""Makes texts fit for a log: no secrets, no forged lines (R42, R73, R106)."""

from __future__ import annotations

import re

# Whatever follows one of these names, up to a character that ends a value.
_SECRET = re.compile(
    r"""(
        (?:access_token|X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token)
            (?:=|%3D|["']?\s*:\s*["']?)
        | \bsig(?:=|%3D)"?
        | \bBearer(?:\s|%20|\+)+
    )
    [^\s&"'<>\\,;]+""",
    re.VERBOSE | re.IGNORECASE,
)
# The ids of exports and imports are secrets in paths (R49).
_SECRET_SEGMENT = re.compile(r"(/admin/(?:export|import)/)[^/\s?\"'<>]+", re.IGNORECASE)
# One of these is in every text that the patterns find. Looking for them first makes the
# access log's lines, nearly all without a secret, ten times cheaper.
_HINTS = ("access_token", "x-amz-", "sig", "bearer", "port/")
_MAX_FIELD = 1024


def redact(text: str) -> str:
    """Replace the values of tokens and signatures."""
    lowered = text.lower()
    if not any(hint in lowered for hint in _HINTS):
        return text
    text = _SECRET.sub(r"\1<redacted>", text)
    return _SECRET_SEGMENT.sub(r"\1<redacted>", text)


def one_line(text: str) -> str:
    """Escape everything that moves a cursor, colours a terminal or ends a line."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def cut(field: object) -> object:
    """Shorten a text that a stranger may have made long; other things stay."""
    if isinstance(field, str) and len(field) > _MAX_FIELD:
        return field[:_MAX_FIELD] + "…"
    return field
