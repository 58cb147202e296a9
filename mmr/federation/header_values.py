"""Header values as other servers write them: parameters and file names."""

from __future__ import annotations

import re
import urllib.parse

from mmr.http.headers import clean_file_name

_PARAMETER = re.compile(
    r';[ \t]*([^=;\s"]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_CHARSETS = {"utf-8", "us-ascii", "iso-8859-1"}


def split_parameters(value: str) -> tuple[str, dict[str, str]]:
    """The value before the first semicolon, and its parameters, names lower-case.

    Quoted strings lose their quotes and escapes; of a repeated name the first counts.
    """
    first, _, _ = value.partition(";")
    parameters: dict[str, str] = {}
    for match in _PARAMETER.finditer(value, len(first)):
        parameters.setdefault(match[1].lower(), _unquoted(match[2].strip(" \t")))
    return first.strip(" \t"), parameters


def file_name(disposition: str | None) -> str:
    """The file name in a ``Content-Disposition``; empty without one.

    ``filename*`` wins over ``filename`` (RFC 6266), whatever the kind is.
    """
    _, parameters = split_parameters(disposition or "")
    name = _extended(parameters.get("filename*", ""))
    if name is None:
        name = _as_utf8(parameters.get("filename", ""))
    return clean_file_name(name)


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return _ESCAPE.sub(r"\1", value[1:-1])
    return value


def _extended(value: str) -> str | None:
    """RFC 8187: ``charset'language'percent-encoded``."""
    charset, quote, rest = value.partition("'")
    _, second_quote, encoded = rest.partition("'")
    if not (quote and second_quote) or charset.lower() not in _CHARSETS:
        return None
    try:
        name = urllib.parse.unquote_to_bytes(encoded).decode(charset)
    except UnicodeError:
        return None
    return name or None


def _as_utf8(value: str) -> str:
    """Header bytes are read one by one; many servers mean UTF-8 by them."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
