"""What every container reader finds out."""

from __future__ import annotations

import attrs

from mmr.thumbnailing.containers.frames import Animation
from mmr.thumbnailing.exif import swaps_sides
from mmr.thumbnailing.model import MAX_SIDE, Refusal, Refused


@attrs.frozen
class Container:
    """An image file, looked at from outside.

    Attributes:
        width: As stored, before any rotation.
        height: As stored.
        clean: The file for the decoder, without metadata.
        orientation: EXIF, 1 to 8.
        icc: Colour profile, when there is one of a sane size.
        animation: The frames, when there is more than one.
        is_sequence: It has more frames, though we show only one.
    """

    width: int
    height: int
    clean: bytes = attrs.field(repr=False)
    orientation: int = 1
    icc: bytes | None = attrs.field(default=None, repr=False)
    animation: Animation | None = None
    is_sequence: bool = False

    @property
    def frames(self) -> int:
        """How many frames there are, as far as anybody looked."""
        return len(self.animation.frames) if self.animation else 1

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as a viewer shows the picture (D57)."""
        if swaps_sides(self.orientation):
            return self.height, self.width
        return self.width, self.height


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Our own arithmetic, before any pixel is decoded (R30).

    Raises:
        Refused: for empty pictures, too long sides, or ``max_pixels`` and more.
    """
    if width < 1 or height < 1:
        raise Refused(Refusal.BROKEN)
    if width > MAX_SIDE or height > MAX_SIDE or width * height >= max_pixels:
        raise Refused(Refusal.TOO_LARGE)
