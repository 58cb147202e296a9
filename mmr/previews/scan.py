"""One walk over a page: everything in it that a preview could use.

The parser calls us for each tag and builds no tree, so memory and depth are bounded by
what is kept here (R24). It reads HTML only: no DTD, no entities but HTML's own, nothing
is loaded (R25).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs
from lxml import etree

from mmr.previews.visibility import INLINE, Part, parts_of

MAX_ELEMENTS = 100_000
MAX_DEPTH = 1000
MAX_METAS = 500
MAX_IMAGES = 500
MAX_LINKS = 100
MAX_JSON_LD = 5
MAX_JSON_LD_CHARACTERS = 64 * 1024
MAX_TEXT = 8192
"""Characters kept of any text, white space collapsed."""

_CHUNK = 64 * 1024
_WHITE_SPACE = re.compile(r"\s+")
_HEADINGS = frozenset({"title", "h1", "h2", "h3"})
_CAPTURED_PROPERTIES = frozenset({"name", "headline", "description"})
_CAPTURED_CLASSES = frozenset({"p-name", "p-summary"})
_PROPERTY_VALUES = {"meta": "content", "link": "href", "img": "src", "a": "href"}
_IMAGE_TAGS = frozenset({"img", "amp-img", "video", "source"})
_LINK_TYPES = frozenset({"alternate", "alternative", "image_src"})

_Attributes = Mapping[str, str]


@attrs.frozen
class FoundImage:
    """An image element.

    Attributes:
        attributes: Those of an ``img``; a video's still is its ``src``.
        is_source: A ``source`` that belongs to the next image.
        is_chrome: It belongs to the frame of the page, not to its subject.
    """

    attributes: _Attributes
    is_source: bool = False
    is_chrome: bool = False


@attrs.define
class Scan:
    """What was found, in the order of the page.

    Attributes:
        base: The ``base`` element's address.
        metas: Name (lower case) and content of ``meta`` elements.
        texts: The first text of headings, ``itemprop:…`` and microformat classes.
        links: ``link`` elements that are of use.
        images: Image elements.
        json_ld: Structured data, not parsed yet.
        body: The text that readers see.
    """

    base: str = ""
    metas: list[tuple[str, str]] = attrs.field(factory=list)
    texts: dict[str, str] = attrs.field(factory=dict)
    links: list[_Attributes] = attrs.field(factory=list)
    images: list[FoundImage] = attrs.field(factory=list)
    json_ld: list[str] = attrs.field(factory=list)
    body: str = ""


def scan(html: str) -> Scan:
    """Walk over a page, as far as the limits go. Never fails."""
    walker = _Walker()
    parser = etree.HTMLParser(
        target=walker,
        encoding="utf-8",
        remove_comments=True,
        remove_pis=True,
        no_network=True,
        huge_tree=False,
    )
    # Some versions of the parser end at the first of these.
    data = html.replace("\0", "").encode("utf-8", "replace")
    try:
        for start in range(0, len(data), _CHUNK):
            parser.feed(data[start : start + _CHUNK])
        if data:
            parser.close()
    except (_Enough, etree.LxmlError):
        pass  # What was found before stands.
    return walker.finish()


class _Enough(Exception):
    """A limit is reached."""


class _Text:
    """The beginning of a text, white space collapsed."""

    def __init__(self, room: int = MAX_TEXT) -> None:
        self._pieces: list[str] = []
        self._room = room

    def add(self, data: str) -> None:
        if self._room > 0:
            piece = _WHITE_SPACE.sub(" ", data)[: self._room]
            self._pieces.append(piece)
            self._room -= len(piece)

    def __str__(self) -> str:
        return _WHITE_SPACE.sub(" ", "".join(self._pieces)).strip()


class _Walker:
    """Called by the parser for each tag and text."""

    def __init__(self) -> None:
        self._found = Scan()
        self._elements = 0
        self._depth = 0
        # At which depth each part began that we are in.
        self._within: dict[Part, int] = {}
        self._captures: dict[str, tuple[int, _Text]] = {}
        self._json_ld: _Text | None = None
        self._main, self._other, self._doubtful = _Text(), _Text(), _Text()

    def start(self, tag: str, attributes: _Attributes) -> None:
        self._elements += 1
        self._depth += 1
        if self._elements > MAX_ELEMENTS or self._depth > MAX_DEPTH:
            raise _Enough
        for part in parts_of(tag, attributes):
            self._within.setdefault(part, self._depth)
        if tag not in INLINE:
            self._add_text(" ")
        if tag == "script":
            self._start_script(attributes)
        if tag == "video" or Part.NEVER_SHOWN not in self._within:
            self._keep(tag, attributes)

    def end(self, tag: str) -> None:
        if tag not in INLINE:
            self._add_text(" ")
        if self._json_ld is not None:
            self._found.json_ld.append(str(self._json_ld))
            self._json_ld = None
        for part in [p for p, depth in self._within.items() if depth == self._depth]:
            del self._within[part]
        for key in [k for k, (at, _) in self._captures.items() if at == self._depth]:
            self._keep_text(key, str(self._captures.pop(key)[1]))
        self._depth -= 1

    def data(self, data: str) -> None:
        if self._json_ld is not None:
            self._json_ld.add(data)
        self._add_text(data)

    def close(self) -> None:
        """Part of the parser's interface."""

    def finish(self) -> Scan:
        """What was found, also when the walk was broken off."""
        for key, (_, text) in self._captures.items():
            self._keep_text(key, str(text))
        self._found.body = _best_text(self._main, self._other, self._doubtful)
        return self._found

    def _start_script(self, attributes: _Attributes) -> None:
        kind = attributes.get("type", "").strip().lower()
        if kind == "application/ld+json" and len(self._found.json_ld) < MAX_JSON_LD:
            self._json_ld = _Text(MAX_JSON_LD_CHARACTERS)

    def _keep(self, tag: str, attributes: _Attributes) -> None:
        if tag in _HEADINGS:
            self._capture(tag)
        if not attributes:
            return
        if tag == "meta":
            self._keep_meta(attributes)
        elif tag == "link":
            self._keep_link(attributes)
        elif tag == "base":
            self._found.base = self._found.base or attributes.get("href", "")
        elif tag in _IMAGE_TAGS:
            self._keep_image(tag, dict(attributes))
        self._keep_microdata(tag, attributes)

    def _keep_meta(self, attributes: _Attributes) -> None:
        name = attributes.get("property") or attributes.get("name") or ""
        content = attributes.get("content", "")
        if name and content and len(self._found.metas) < MAX_METAS:
            self._found.metas.append((name.strip().lower(), content))

    def _keep_link(self, attributes: _Attributes) -> None:
        types = attributes.get("rel", "").lower().split()
        if not _LINK_TYPES.isdisjoint(types) and len(self._found.links) < MAX_LINKS:
            self._found.links.append(dict(attributes))

    def _keep_image(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "video":
            attributes = {"src": attributes.get("poster", "")}
        if len(self._found.images) < MAX_IMAGES:
            is_chrome = Part.CHROME in self._within
            is_source = tag == "source"
            self._found.images.append(FoundImage(attributes, is_source, is_chrome))

    def _keep_microdata(self, tag: str, attributes: _Attributes) -> None:
        for name in attributes.get("itemprop", "").split():
            value = attributes.get("content") or attributes.get(
                _PROPERTY_VALUES.get(tag, ""), ""
            )
            if value:
                if name in _CAPTURED_PROPERTIES or name == "image":
                    self._keep_text(f"itemprop:{name}", value)
            elif name in _CAPTURED_PROPERTIES:
                self._capture(f"itemprop:{name}")
        for name in _CAPTURED_CLASSES.intersection(attributes.get("class", "").split()):
            self._capture(name)

    def _capture(self, key: str) -> None:
        if key not in self._found.texts and key not in self._captures:
            self._captures[key] = (self._depth, _Text())

    def _keep_text(self, key: str, text: str) -> None:
        if text.strip():
            self._found.texts.setdefault(key, text[:MAX_TEXT])

    def _add_text(self, data: str) -> None:
        if Part.NEVER_SHOWN in self._within:
            return
        for _, text in self._captures.values():
            text.add(data)
        if Part.CHROME in self._within:
            return
        if Part.DOUBTFUL in self._within:
            self._doubtful.add(data)
        elif Part.MAIN in self._within:
            self._main.add(data)
        else:
            self._other.add(data)


_ENOUGH_TEXT = 80


def _best_text(*texts: _Text) -> str:
    """The first that is a text, not just a few words; else the longest."""
    found = [str(text) for text in texts]
    return next((t for t in found if len(t) >= _ENOUGH_TEXT), max(found, key=len))
