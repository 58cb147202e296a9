"""What goes into a preview and what comes out of it."""

from __future__ import annotations

import attrs

MAX_IMAGES = 5
"""Candidates kept: the first that can be fetched and drawn is shown."""


@attrs.frozen
class PreviewOptions:
    """The operator's settings, per homeserver (the ``urlPreviews`` section).

    Attributes:
        num_words: Words kept of a description.
        max_length: Characters kept of a description.
        num_title_words: Words kept of a title.
        max_title_length: Characters kept of a title.
    """

    num_words: int = 50
    max_length: int = 200
    num_title_words: int = 30
    max_title_length: int = 150


@attrs.frozen
class ImageCandidate:
    """An image that may stand for a page.

    Attributes:
        url: Absolute, http(s).
        width: Pixels, as the page claims; None when it doesn't.
        height: The same.
    """

    url: str
    width: int | None = None
    height: int | None = None


@attrs.frozen
class Preview:
    """What is shown of a URL: plain text, cut to length, http(s) URLs only (R27).

    Attributes:
        url: Absolute, http(s): what the page calls itself, else the URL asked for.
        site_name: Empty when unknown, like the other texts.
        resource_type: ``og:type`` or the oEmbed type.
        title: One line.
        description: One line.
        images: The best first, at most `MAX_IMAGES`.
    """

    url: str
    site_name: str = ""
    resource_type: str = ""
    title: str = ""
    description: str = ""
    images: tuple[ImageCandidate, ...] = ()

    @property
    def image_url(self) -> str | None:
        """The best image."""
        return self.images[0].url if self.images else None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.title or self.description or self.images)


@attrs.frozen
class PageResult:
    """What a page says.

    Attributes:
        preview: The preview; may be empty but for the URL.
        oembed_url: The page's own link to its oEmbed answer in JSON, absolute, http(s).
        has_open_graph: Whether the page describes itself (``og:`` or ``twitter:``);
            else the preview is calculated from its text.
    """

    preview: Preview
    oembed_url: str | None = None
    has_open_graph: bool = False
