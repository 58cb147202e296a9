"""AVIF. Importing this fails where the library was built without it."""

from __future__ import annotations

from PIL import AvifImagePlugin, Image

from mmr.thumbnailing.containers.base import Container, check_size
from mmr.thumbnailing.containers.bmff import Item, read_bmff
from mmr.thumbnailing.model import RenderOptions
from mmr.thumbnailing.renderers.stills import FrugalFile, StillRenderer

if not AvifImagePlugin.SUPPORTED:
    raise ImportError("Pillow was built without AVIF")

# As many threads as processors would be as many stacks in a worker's memory.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

# By quarter turns: not mirrored, mirrored top to bottom, mirrored left to right.
_ORIENTATIONS = ((1, 4, 2), (8, 5, 7), (3, 2, 4), (6, 7, 5))


class _AvifFile(FrugalFile, AvifImagePlugin.AvifImageFile):
    pass


Image.register_open("AVIF", _AvifFile)


class AvifRenderer(StillRenderer):
    """AVIF; of a sequence the first frame."""

    content_type = "image/avif"
    format = "AVIF"
    plugin = _AvifFile
    photo = True

    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Find the primary item."""
        item = read_bmff(data)
        for size in item.sizes:
            check_size(*size, options.max_pixels)
        return Container(
            item.width,
            item.height,
            item.clean,
            _orientation(item),
            item.icc,
            is_sequence=item.is_sequence,
        )


def _orientation(item: Item) -> int:
    """The decoder gives the pixels as they are coded."""
    mirror = 0 if item.mirror is None else item.mirror + 1
    return _ORIENTATIONS[item.quarter_turns][mirror]
