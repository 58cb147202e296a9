"""Which parts of a page are its text."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd mark nobr q"
    " ruby s samp small span strike strong sub sup time tt u var wbr".split()
)
"""Elements that don't end a word."""

_NEVER_SHOWN = frozenset(
    "applet audio canvas datalist embed frameset iframe math noembed noframes noscript"
    " object script select style svg template textarea video".split()
)
_CHROME = frozenset(
    "aside button dialog footer h1 header menu nav option title".split()
)
_CHROME_ROLES = frozenset(
    "alert alertdialog banner complementary contentinfo dialog menu menubar navigation"
    " note search toolbar".split()
)
_CHROME_CLASSES = frozenset(
    "mw-editsection noprint screen-reader-text sr-only visually-hidden".split()
)
# A whole page may lie in one of these, so they are only set aside.
_DOUBTFUL = frozenset({"form", "table"})
_MAIN = frozenset({"article", "main"})
_HIDING_STYLE = re.compile(r"display\s*+:\s*+none|visibility\s*+:\s*+hidden", re.I)


class Part(enum.Enum):
    """What an element says about all that is in it."""

    NEVER_SHOWN = enum.auto()
    CHROME = enum.auto()
    DOUBTFUL = enum.auto()
    MAIN = enum.auto()


def parts_of(tag: str, attributes: Mapping[str, str]) -> list[Part]:
    """What begins with an element."""
    if tag in ("html", "body"):
        # Pages hide themselves until their scripts have run.
        return []
    if tag in _NEVER_SHOWN or _is_hidden(attributes):
        return [Part.NEVER_SHOWN]
    parts = []
    if _is_chrome(tag, attributes):
        parts.append(Part.CHROME)
    if tag in _DOUBTFUL:
        parts.append(Part.DOUBTFUL)
    if tag in _MAIN or attributes.get("role") == "main":
        parts.append(Part.MAIN)
    return parts


def _is_hidden(attributes: Mapping[str, str]) -> bool:
    if not attributes:
        return False
    if "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return True
    return _HIDING_STYLE.search(attributes.get("style", "")) is not None


def _is_chrome(tag: str, attributes: Mapping[str, str]) -> bool:
    if tag in _CHROME:
        return True
    if not attributes:
        return False
    if tag == "a" and attributes.get("href", "").startswith("#"):
        return True
    if attributes.get("role", "").lower() in _CHROME_ROLES:
        return True
    return not _CHROME_CLASSES.isdisjoint(attributes.get("class", "").split())
