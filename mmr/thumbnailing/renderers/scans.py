"""BMP and TIFF: pictures as scanners and old tools write them."""

from __future__ import annotations

from PIL import BmpImagePlugin, TiffImagePlugin

from mmr.thumbnailing.containers.base import Container
from mmr.thumbnailing.containers.bmp import read_bmp
from mmr.thumbnailing.containers.tiff import read_tiff
from mmr.thumbnailing.model import RenderOptions
from mmr.thumbnailing.renderers.stills import StillRenderer


class BmpRenderer(StillRenderer):
    """BMP."""

    content_type = "image/bmp"
    format = "BMP"
    plugin = BmpImagePlugin.BmpImageFile

    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Read the header."""
        return read_bmp(data)


class TiffRenderer(StillRenderer):
    """TIFF; the first page."""

    content_type = "image/tiff"
    format = "TIFF"
    plugin = TiffImagePlugin.TiffImageFile
    photo = True

    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Read the first directory."""
        return read_tiff(data)
