"""JPEG XL, by pillow-jxl-plugin. Importing this fails without it.

It has no place in ``thumbnails.types`` unless the operator gives it one (R38).
"""

from __future__ import annotations

from PIL import Image
from pillow_jxl import Decoder

from mmr.thumbnailing.containers.base import Container
from mmr.thumbnailing.containers.jxl import read_jxl
from mmr.thumbnailing.model import (
    MAX_METADATA_BYTES,
    Refusal,
    Refused,
    RenderOptions,
)
from mmr.thumbnailing.renderers.colors import for_resizing
from mmr.thumbnailing.renderers.drawing import Picture
from mmr.thumbnailing.renderers.stills import StillRenderer
from mmr.thumbnailing.sizes import Fit

_MODES = ("L", "LA", "RGB", "RGBA", "I;16", "F")


class JxlRenderer(StillRenderer):
    """JPEG XL. Not through the library, whose plugin opens what it finds inside."""

    content_type = "image/jxl"
    format = "JXL"
    photo = True

    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Read the size."""
        return read_jxl(data)

    def decode(
        self, container: Container, fits: list[Fit], options: RenderOptions
    ) -> Picture:
        """Decode it all; there are no threads."""
        _, info, pixels, icc, _ = Decoder(num_threads=0)(container.clean)
        size = container.width, container.height
        if (info.width, info.height) != size or info.mode not in _MODES:
            raise Refused(Refusal.BROKEN)
        image = Image.frombytes(info.mode, size, pixels)
        small = icc if icc and len(icc) <= MAX_METADATA_BYTES else None
        return Picture(for_resizing(image), 1.0, 1, small)
