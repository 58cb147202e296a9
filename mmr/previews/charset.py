"""From the bytes of a page to its text. Bad bytes never fail (R26)."""

from __future__ import annotations

import codecs
import re

from mmr.previews.labels import codec_for_label, codec_for_language

SOUGHT_BYTES = 1024
"""Of the beginning of a page; later declarations are not seen by browsers either."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Their bytes can be valid UTF-8 all the same.
_LOOK_LIKE_ASCII = {"iso2022-jp", "utf-16-le", "utf-16-be"}

_CHARSET = re.compile(r"""charset\s*+=\s*+["']?+\s*+([^\s"'/>;,]{1,40})""", re.I)
_DECLARATION = re.compile(r"<(?:meta|\?xml)\b[^<>]*", re.I)
_XML_ENCODING = re.compile(r"""encoding\s*+=\s*+["']([^"'\s]{1,40})""", re.I)
_LANGUAGE = re.compile(r"""<html\b[^<>]*?\blang\s*+=\s*+["']?+([\w-]{2,20})""", re.I)


def decode(data: bytes, content_type: str) -> str:
    """The text of a page.

    Text that is UTF-8 is taken as such, whatever it claims to be.

    Args:
        data: The page, or its beginning.
        content_type: The header, for its ``charset``.
    """
    for mark, codec in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(codec, "replace")
    head = data[:SOUGHT_BYTES].decode("latin-1")
    declared = _label_in(content_type) or _declared_in(head)
    if declared not in _LOOK_LIKE_ASCII:
        text = _utf8(data, declared)
        if text is not None:
            return text
    return data.decode(declared or _by_language(head) or "cp1252", "replace")


def _label_in(declaration: str) -> str | None:
    match = _CHARSET.search(declaration)
    return codec_for_label(match[1]) if match else None


def _declared_in(head: str) -> str | None:
    for match in _DECLARATION.finditer(head):
        declaration = match[0]
        codec = _label_in(declaration)
        if codec is None and (encoding := _XML_ENCODING.search(declaration)):
            codec = codec_for_label(encoding[1])
        if codec is not None:
            # That was read as ASCII, so it can't be true.
            return "utf-8" if codec.startswith("utf-16") else codec
    return None


def _by_language(head: str) -> str | None:
    match = _LANGUAGE.search(head)
    return codec_for_language(match[1]) if match else None


def _utf8(data: bytes, declared: str | None) -> str | None:
    """The text if it is UTF-8, perhaps cut off within a character or a bit damaged."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        pass
    text = data.decode("utf-8", "replace")
    # Each character of several bytes makes the text shorter than the data; a byte of
    # another encoding doesn't.
    is_damaged_utf8 = text.count("\ufffd") * 10 <= len(data) - len(text)
    return text if declared == "utf-8" or is_damaged_utf8 else None
