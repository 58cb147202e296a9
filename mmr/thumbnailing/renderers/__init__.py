"""One renderer a media family, by what the bytes are. Only workers import this."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType

from mmr.thumbnailing import ffmpeg
from mmr.thumbnailing.codecs import OPTIONAL
from mmr.thumbnailing.model import ImageInfo, Refusal, Refused, RenderOptions
from mmr.thumbnailing.renderers.audio import AudioRenderer
from mmr.thumbnailing.renderers.base import Renderer
from mmr.thumbnailing.renderers.moving import GifRenderer, PngRenderer, WebPRenderer
from mmr.thumbnailing.renderers.pdf import PdfRenderer
from mmr.thumbnailing.renderers.scans import BmpRenderer, TiffRenderer
from mmr.thumbnailing.renderers.stills import JpegRenderer, Shrink
from mmr.thumbnailing.renderers.svg import SvgRenderer
from mmr.thumbnailing.renderers.video import VideoRenderer


def _optional() -> Iterator[tuple[str, Renderer]]:
    for content_type, codec in OPTIONAL.items():
        module, name = codec.renderer
        # A broken package must not take the other formats with it.
        with contextlib.suppress(ImportError):
            yield content_type, getattr(import_module(module), name)()


def _shrinkers() -> dict[str, Shrink]:
    """Where libvips does it in less time and memory."""
    # Its package is there without the library itself, too.
    with contextlib.suppress(ImportError, OSError):
        vips = import_module("mmr.thumbnailing.renderers.vips")
        return {"png": vips.shrink_png, "webp": vips.shrink_webp}
    return {}


_shrink = _shrinkers()

RENDERERS: Mapping[str, Renderer] = MappingProxyType(
    {
        "image/gif": GifRenderer(),
        "image/jpeg": JpegRenderer(),
        "image/png": PngRenderer(_shrink.get("png")),
        "image/webp": WebPRenderer(_shrink.get("webp")),
        "image/bmp": BmpRenderer(),
        "image/tiff": TiffRenderer(),
        **dict(_optional()),
    }
)

_BY_PROGRAMS: Mapping[str, Renderer] = MappingProxyType(
    {
        "application/pdf": PdfRenderer(),
        "image/svg+xml": SvgRenderer(),
        **{
            name: (
                AudioRenderer(name, RENDERERS)
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
    renderer = RENDERERS.get(content_type) or _BY_PROGRAMS.get(content_type)
    if renderer is None:
        raise Refused(Refusal.UNSUPPORTED)
    return renderer


def describe(renderer: Renderer, data: bytes, options: RenderOptions) -> ImageInfo:
    """All that is known of a source, if need be by decoding it."""
    if isinstance(renderer, AudioRenderer):
        return renderer.describe(data, options)
    return renderer.probe(data, options)
