"""PDF: the first page, by poppler's programs. Off unless an operator lists the type."""

from __future__ import annotations

import re
from io import BytesIO

from PIL import Image

from mmr.thumbnailing.model import Refusal, Refused
from mmr.thumbnailing.programs import run, source_file
from mmr.thumbnailing.renderers.outside import LONG_SIDE, VectorRenderer

_PROBE_SECONDS, _DRAW_SECONDS = 3.0, 8.0
_FIRST_PAGE = ("-f", "1", "-l", "1")
_SIZE = re.compile(rb"^Page +1 size: +([0-9.]{1,12}) x ([0-9.]{1,12}) pts", re.M)
_TURN = re.compile(rb"^Page +1 rot: +(90|270)\b", re.M)


class PdfRenderer(VectorRenderer):
    """PDF."""

    content_type = "application/pdf"

    def measure(self, data: bytes) -> tuple[float, float]:
        """The first page, enlarged as far as we draw: paper has no pixels."""
        with source_file(data) as path:
            printed = run("pdfinfo", [*_FIRST_PAGE, path], seconds=_PROBE_SECONDS)
        match = _SIZE.search(printed)
        if match is None:
            raise Refused(Refusal.BROKEN)
        width, height = float(match[1]), float(match[2])
        if _TURN.search(printed):
            width, height = height, width
        scale = LONG_SIDE / max(width, height, 1.0)
        return width * scale, height * scale

    def draw(self, data: bytes, width: int, height: int) -> Image.Image:
        """Draw the first page."""
        # The sides by themselves would be those before the page is turned.
        long_side = ["-scale-to", str(max(width, height))]
        with source_file(data) as path:
            ppm = run(
                "pdftoppm",
                [*_FIRST_PAGE, "-singlefile", "-cropbox", *long_side, path],
                seconds=_DRAW_SECONDS,
            )
        image = Image.open(BytesIO(ppm), formats=["PPM"])
        if abs(image.width - width) > 1 or abs(image.height - height) > 1:
            raise Refused(Refusal.BROKEN)
        return image.resize((width, height))
