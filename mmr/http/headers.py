"""Content types and dispositions as they may be sent (R3, R4, R72, spec §4.3)."""

from __future__ import annotations

import functools
import re
import unicodedata
from urllib.parse import quote

_OCTET_STREAM = "application/octet-stream"
MAX_TYPE_BYTES = 255
_MAX_NAME_BYTES = 255
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TYPE = re.compile(rf"({_WORD}/{_WORD})[ \t]*(?=;|\Z)")
_PARAMETER = re.compile(
    rf';[ \t]*({_WORD})=({_WORD}|"(?:[\t !#-\[\]-~]|\\[\t -~])*")[ \t]*(?=;|\Z)'
)
_IS_BARE = re.compile(rf"{_WORD}\Z")
# Percent signs are left out: some browsers decode them within a quoted string.
_IS_QUOTABLE = re.compile(r"[ !#$&-\[\]-~]+\Z")
# RFC 8187 attr-char, beyond what quote() lets through anyway.
_ATTR_CHARS = "!#$&+^`|"
_INLINE = frozenset(
    """
    text/css text/plain text/csv application/json application/ld+json
    image/jpeg image/gif image/png image/apng image/webp image/avif
    video/mp4 video/webm video/ogg video/quicktime
    audio/mp4 audio/webm audio/aac audio/mpeg audio/ogg audio/wave audio/wav
    audio/x-wav audio/x-pn-wav audio/flac audio/x-flac
    """.split()
)
# Controls, halves of characters, line and paragraph ends.
_UNWANTED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# These turn the text around, so that "gpj.exe" reads "exe.jpg". Other invisible
# characters stay: emoji are joined by one.
_BIDI = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


@functools.lru_cache(maxsize=1024)
def clean_content_type(content_type: str | None) -> str:
    """The content type to send for what somebody claimed.

    Lower-cased, parameters sorted by name, ``charset`` only where it means something
    (mmr-http-api.md §5.5). What doesn't parse as one type is
    ``application/octet-stream`` (R4).
    """
    text = (content_type or "").strip(" \t")
    match = _TYPE.match(text)
    if match is None or len(text) > MAX_TYPE_BYTES or not text.isascii():
        return _OCTET_STREAM
    media_type = match[1].lower()
    parameters: dict[str, str] = {}
    position = match.end()
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None:
            return _OCTET_STREAM
        parameters.setdefault(match[1].lower(), match[2])
        position = match.end()
    if not (media_type.startswith("text/") or media_type == "application/json"):
        parameters.pop("charset", None)
    return "; ".join([media_type, *(f"{k}={v}" for k, v in sorted(parameters.items()))])


def clean_file_name(name: str) -> str:
    """The name without path, control and invisible characters, and not too long.

    Empty when nothing is left.
    """
    name = name.replace("\\", "/").rpartition("/")[2]
    name = "".join(
        char
        for char in name
        if char not in _BIDI and unicodedata.category(char) not in _UNWANTED_CATEGORIES
    ).strip()
    if name.strip(".") == "":
        return ""
    if len(name.encode()) <= _MAX_NAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension.encode()) > 16:
        stem, extension = name, ""
    room = _MAX_NAME_BYTES - len((dot + extension).encode()) if extension else 255
    stem = stem.encode()[:room].decode("utf-8", "ignore")
    return f"{stem}.{extension}" if extension else stem


def file_name_parameters(name: str) -> str:
    """``filename`` and, where ASCII doesn't do, ``filename*``; empty without a name."""
    name = clean_file_name(name)
    if not name:
        return ""
    if _IS_BARE.match(name) and "%" not in name:
        return f"; filename={name}"
    if _IS_QUOTABLE.match(name):
        return f'; filename="{name}"'
    plain = "".join(
        char if _IS_QUOTABLE.match(char) else "_" for char in name
    )  # for readers that don't know filename*
    encoded = quote(name, safe=_ATTR_CHARS)
    return f"; filename=\"{plain}\"; filename*=utf-8''{encoded}"


@functools.lru_cache(maxsize=1024)
def describe_media(
    content_type: str | None, name: str | None, as_attachment: bool = False
) -> tuple[str, str]:
    """``Content-Type`` and ``Content-Disposition``, both from one value (R3).

    Args:
        content_type: As claimed by whoever made the media.
        name: The file name; it never changes the disposition's kind.
        as_attachment: Never show it inline.
    """
    sent_type = clean_content_type(content_type)
    is_inline = sent_type.partition(";")[0] in _INLINE and not as_attachment
    kind = "inline" if is_inline else "attachment"
    return sent_type, kind + file_name_parameters(name or "")
