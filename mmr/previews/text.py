"""Text of strangers, made fit to be shown (R27)."""

from __future__ import annotations

import re

MAX_CHARACTERS = 1000
"""Of any text in a preview, whatever the configuration says."""

_ELLIPSIS = "..."
# Control characters but white space, what changes the direction of the text around it,
# annotations, byte order marks, and halves of surrogate pairs, which can't be encoded.
_UNWANTED = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u061c\u202a-\u202e\u2066-\u2069"
    "\ufff9-\ufffb\ufeff\ufffe\uffff\ud800-\udfff]"
)


def clean(text: str) -> str:
    """Remove what isn't text; white space becomes single spaces."""
    return " ".join(_UNWANTED.sub("", text).split())


def shorten(text: str, words: int, length: int) -> str:
    """Clean a text and keep its beginning (mmr-http-api §7.4).

    Args:
        text: Any text; only as much of it is read as could be needed.
        words: Words kept.
        length: Characters kept, more are never given than `MAX_CHARACTERS`. Whole words
            are dropped for it; a single word that is longer is cut and gets `...`.
    """
    length = min(length, MAX_CHARACTERS)
    pieces = _UNWANTED.sub("", text).split(maxsplit=words)[:words]
    kept: list[str] = []
    left = length + 1
    for piece in pieces:
        left -= len(piece) + 1
        if left < 0:
            break
        kept.append(piece)
    if kept or not pieces:
        return " ".join(kept)
    return pieces[0][: max(0, length - len(_ELLIPSIS))] + _ELLIPSIS[:length]
