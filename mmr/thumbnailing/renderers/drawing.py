"""From one decoded picture to many sizes, and to bytes."""

from __future__ import annotations

from io import BytesIO

import attrs
from PIL import Image, ImageFilter

from mmr.thumbnailing.exif import swaps_sides
from mmr.thumbnailing.renderers.base import Encoded
from mmr.thumbnailing.renderers.colors import for_the_screen
from mmr.thumbnailing.sizes import Fit

JPEG_QUALITY = 85
"""MMR used 95: twice the bytes, and at a thumbnail's size nobody sees it."""

WEBP_QUALITY = 80

OVERSAMPLING = {8: 1.5, 4: 1.25, 2: 1.5, 1: 0.0}
"""Pixels of a JPEG decoded at one eighth, a quarter, a half, per pixel of the result,
at least. What it blurs, `SHARPENING` restores."""
SHARPENING = 1 / 16
"""Averaging blocks is a filter of which 1/24 undoes the first order; what the scaled
decoders do takes a little more."""
_SHARP_ENOUGH = 3.0
"""From so many pixels per pixel on, nothing needs to be restored."""
_QUIET_GAP = 3.0
"""The same for the averaging that the library does while it resizes, after which
nothing is sharpened."""

_FORMATS = {
    "image/gif": "GIF",
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
}
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@attrs.frozen
class Picture:
    """Decoded pixels, perhaps fewer than the source has.

    Attributes:
        image: In a mode from `for_resizing`.
        scale: Source pixels per pixel here, across and down.
        orientation: EXIF, still to be applied.
        icc: Colour profile, still to be applied.
    """

    image: Image.Image
    scale: tuple[float, float]
    orientation: int
    icc: bytes | None = attrs.field(repr=False)

    def draw(self, fit: Fit) -> Image.Image:
        """One size. Fitted on the picture as a viewer sees it, turned last (D57)."""
        size, box = (fit.width, fit.height), fit.box
        if swaps_sides(self.orientation):
            # Boxes are centred, so mirroring doesn't move them.
            size, box = size[::-1], (box[1], box[0], box[3], box[2])
        across, down = self.scale
        inside = (
            box[0] / across,
            box[1] / down,
            min(box[2] / across, self.image.width),
            min(box[3] / down, self.image.height),
        )
        drawn = self.image.resize(
            size, Image.Resampling.LANCZOS, inside, reducing_gap=_QUIET_GAP
        )
        drawn = self._sharpened(drawn, (inside[2] - inside[0]) / size[0])
        if self.orientation in _TRANSPOSE:
            drawn = drawn.transpose(_TRANSPOSE[self.orientation])
        return for_the_screen(drawn, self.icc)

    def _sharpened(self, drawn: Image.Image, oversampling: float) -> Image.Image:
        """Undo what the scaled decode blurred: it shows where few pixels are left."""
        if self.scale == (1.0, 1.0) or oversampling >= _SHARP_ENOUGH:
            return drawn
        outer = -SHARPENING / oversampling**2
        row = (outer, 1 - 2 * outer, outer)
        kernel = [across * down for down in row for across in row]
        return drawn.filter(ImageFilter.Kernel((3, 3), kernel, scale=1))


def check_decodes(encoded: Encoded) -> None:
    """Read a thumbnail back: codecs have bugs too, and a bad one would stay (R39).

    Raises:
        Exception: when the library can't.
    """
    formats = [_FORMATS[encoded.content_type]]
    with Image.open(BytesIO(encoded.data), formats=formats) as image:
        # An eighth of the size reads all of the data as well.
        image.draft(None, (1, 1))
        image.load()


def encode(image: Image.Image, *, photo: bool, webp: bool = False) -> Encoded:
    """JPEG for opaque photos, PNG for everything else; or WebP for both.

    Args:
        image: From `Picture.draw`; without metadata, so none is written (R32).
        photo: The source's format is one for photos.
        webp: The client takes it.
    """
    output = BytesIO()
    if webp:
        content_type = "image/webp"
        # Lossless, "quality" is the effort: beyond this it is all time.
        quality = WEBP_QUALITY if photo else 25
        image.save(output, "WEBP", lossless=not photo, quality=quality, method=3)
    elif photo and image.mode in ("L", "RGB"):
        content_type = "image/jpeg"
        image.save(output, "JPEG", quality=JPEG_QUALITY)
    else:
        content_type = "image/png"
        image.save(output, "PNG")
    return Encoded(content_type, image.width, image.height, output.getvalue())
