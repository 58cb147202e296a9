"""One renderer a media family, by what the bytes are. Only workers import this."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mmr.thumbnailing.model import Refusal, Refused
from mmr.thumbnailing.renderers.base import Renderer
from mmr.thumbnailing.renderers.stills import (
    GifRenderer,
    JpegRenderer,
    PngRenderer,
    WebPRenderer,
)

RENDERERS: Mapping[str, Renderer] = MappingProxyType(
    {
        "image/gif": GifRenderer(),
        "image/jpeg": JpegRenderer(),
        "image/png": PngRenderer(),
        "image/webp": WebPRenderer(),
    }
)


def renderer_for(content_type: str) -> Renderer:
    """The renderer for a sniffed type.

    Raises:
        Refused: when there is none.
    """
    try:
        return RENDERERS[content_type]
    except KeyError:
        raise Refused(Refusal.UNSUPPORTED) from None
