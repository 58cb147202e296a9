"""One renderer a media family, by what the bytes are. Only workers import this."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mmr.thumbnailing import ffmpeg
from mmr.thumbnailing.model import ImageInfo, Refusal, Refused, RenderOptions
from mmr.thumbnailing.renderers.audio import AudioRenderer
from mmr.thumbnailing.renderers.base import Renderer
from mmr.thumbnailing.renderers.moving import GifRenderer, PngRenderer, WebPRenderer
from mmr.thumbnailing.renderers.pdf import PdfRenderer
from mmr.thumbnailing.renderers.stills import JpegRenderer
from mmr.thumbnailing.renderers.svg import SvgRenderer
from mmr.thumbnailing.renderers.video import VideoRenderer

_PICTURES: dict[str, Renderer] = {
    "image/gif": GifRenderer(),
    "image/jpeg": JpegRenderer(),
    "image/png": PngRenderer(),
    "image/webp": WebPRenderer(),
}

RENDERERS: Mapping[str, Renderer] = MappingProxyType(
    {
        **_PICTURES,
        "application/pdf": PdfRenderer(),
        "image/svg+xml": SvgRenderer(),
        **{
            name: (
                AudioRenderer(name, _PICTURES)
                if name.startswith("audio/")
                else VideoRenderer(name)
            )
            for name in ffmpeg.TYPES
        },
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


def describe(renderer: Renderer, data: bytes, options: RenderOptions) -> ImageInfo:
    """All that is known of a source, if need be by decoding it."""
    if isinstance(renderer, AudioRenderer):
        return renderer.describe(data, options)
    return renderer.probe(data, options)
