"""What a page says of itself in ``meta`` elements: OpenGraph and Twitter cards."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from mmr.previews.images import dimension
from mmr.previews.model import ImageCandidate
from mmr.previews.urls import http_url

_TEXTS = {
    "og:title": "title",
    "og:description": "description",
    "og:type": "type",
    "og:url": "url",
    "og:site_name": "site_name",
    "twitter:title": "twitter_title",
    "twitter:description": "twitter_description",
    "twitter:site": "twitter_site",
    "description": "plain_description",
    "application-name": "application_name",
}
_TWITTER_IMAGES = frozenset({"twitter:image", "twitter:image:src"})
_MAX_IMAGES = 20


@attrs.define
class _Image:
    """One ``og:image`` with the properties that follow it."""

    url: str = ""
    secure_url: str = ""
    width: int | None = None
    height: int | None = None


@attrs.define
class OpenGraph:
    """The properties of a page, as found.

    Attributes:
        texts: By a name of ours; the last one that isn't empty (mmr-http-api §7.3).
    """

    texts: dict[str, str] = attrs.field(factory=dict)
    _images: list[_Image] = attrs.field(factory=list)
    _twitter_images: list[str] = attrs.field(factory=list)
    is_present: bool = False

    @classmethod
    def read(cls, metas: Iterable[tuple[str, str]]) -> OpenGraph:
        """Sort out ``meta`` elements, in the order of the page."""
        result = cls()
        for name, content in metas:
            content = content.strip()
            if content:
                result._add(name, content)
        return result

    def _add(self, name: str, content: str) -> None:
        if name.startswith(("og:", "twitter:")):
            self.is_present = True
        if name in _TEXTS:
            self.texts[_TEXTS[name]] = content
        elif name.startswith("og:image"):
            self._add_to_image(name.removeprefix("og:image").lstrip(":"), content)
        elif name in _TWITTER_IMAGES and len(self._twitter_images) < _MAX_IMAGES:
            self._twitter_images.append(content)

    def _add_to_image(self, key: str, content: str) -> None:
        image = self._images[-1] if self._images else None
        if key in ("", "url"):
            is_new = image is None or image.url not in ("", content)
        else:
            is_new = image is None
        if image is None or is_new:
            if len(self._images) == _MAX_IMAGES:
                return
            image = _Image()
            self._images.append(image)
        if key in ("", "url"):
            image.url = content
        elif key == "secure_url":
            image.secure_url = content
        elif key == "width":
            image.width = dimension(content)
        elif key == "height":
            image.height = dimension(content)

    def images(self, base: str) -> Iterable[ImageCandidate]:
        """Its images, in its order."""
        for image in self._images:
            for address in (image.secure_url, image.url):
                url = http_url(address, base)
                if url is not None:
                    yield ImageCandidate(url, image.width, image.height)
                    break
        for address in self._twitter_images:
            url = http_url(address, base)
            if url is not None:
                yield ImageCandidate(url)
