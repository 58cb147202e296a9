"""What the server and a preview worker say to each other.

The page travels as an open file beside the job.
"""

from __future__ import annotations

from typing import Any, TypeVar

import attrs

from mmr.previews.images import dimension
from mmr.previews.model import (
    MAX_IMAGES,
    ImageCandidate,
    PageResult,
    Preview,
    PreviewOptions,
)
from mmr.previews.text import MAX_CHARACTERS, shorten
from mmr.previews.urls import http_url
from mmr.util.confined.channel import ProtocolError

_MAX_HINT = 500

T = TypeVar("T")


@attrs.frozen
class Job:
    """One page, or one oEmbed answer.

    Attributes:
        url: Where it was found; of an answer, what was asked about.
        hint: The content type of a page, the provider's name of an answer.
        options: How much text is kept.
        is_oembed: Which of the two it is.
    """

    url: str
    hint: str
    options: PreviewOptions
    is_oembed: bool = False

    def encode(self) -> dict[str, Any]:
        """As a message."""
        return attrs.asdict(attrs.evolve(self, hint=self.hint[:_MAX_HINT]))

    @classmethod
    def decode(cls, message: dict[str, Any]) -> Job:
        """From a message. The server is trusted, so nothing is checked."""
        options = PreviewOptions(**message.pop("options"))
        return cls(options=options, **message)


def encode_result(result: PageResult | None) -> dict[str, Any]:
    """As a message."""
    return {"result": None if result is None else attrs.asdict(result)}


def decode_result(message: dict[str, Any], url: str) -> PageResult | None:
    """From a message. The worker may have been taken over: all is checked again (R27).

    Args:
        message: The answer.
        url: Of the job.

    Raises:
        ProtocolError: when it makes no sense.
    """
    try:
        result = message["result"]
        if result is None:
            return None
        found = result["oembed_url"]
        return PageResult(
            _preview(result["preview"], url),
            None if found is None else _url(found, url),
            _typed(result["has_open_graph"], bool),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError("not a preview") from error


def _preview(fields: dict[str, Any], url: str) -> Preview:
    return Preview(
        _url(fields["url"], url),
        _text(fields["site_name"]),
        _text(fields["resource_type"]),
        _text(fields["title"]),
        _text(fields["description"]),
        tuple(_image(image, url) for image in fields["images"][:MAX_IMAGES]),
    )


def _image(fields: dict[str, Any], url: str) -> ImageCandidate:
    width, height = dimension(fields["width"]), dimension(fields["height"])
    return ImageCandidate(_url(fields["url"], url), width, height)


def _text(value: Any) -> str:
    return shorten(_typed(value, str), MAX_CHARACTERS, MAX_CHARACTERS)


def _url(value: Any, base: str) -> str:
    found = base if value == base else http_url(_typed(value, str), base)
    if found is None:
        raise ValueError("not a URL")
    return found


def _typed(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise ValueError("wrong type")
    return value
