"""The frames of an animation, as its container describes them. Nothing is decoded."""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs


class Disposal(enum.Enum):
    """What becomes of a frame's part of the canvas when its time is over."""

    KEEP = enum.auto()
    CLEAR = enum.auto()
    RESTORE = enum.auto()


@attrs.frozen
class Frame:
    """One frame.

    Attributes:
        left: Where it lies on the canvas, in pixels.
        upper: The same.
        width: In pixels.
        height: The same.
        duration_ms: How long it is shown; 0 leaves that to the viewer.
        disposal: What happens after that.
        blends: It is laid over what is there; otherwise it takes its place.
        is_opaque: Surely nothing shines through it.
        file: Makes a file of the same format with this picture alone.
    """

    left: int
    upper: int
    width: int
    height: int
    duration_ms: int
    disposal: Disposal
    blends: bool
    is_opaque: bool
    file: Callable[[], bytes] = attrs.field(repr=False, eq=False)


@attrs.frozen
class Animation:
    """Frames on a canvas, which is transparent at first.

    Attributes:
        width: Of the canvas, in pixels.
        height: The same.
        plays: How often it is shown; 0 is for ever.
        frames: At most `MAX_FRAMES`.
        is_whole: The file has no more frames than these.
    """

    width: int
    height: int
    plays: int
    frames: tuple[Frame, ...]
    is_whole: bool = True

    @property
    def duration_ms(self) -> int:
        """Of all frames together."""
        return sum(frame.duration_ms for frame in self.frames)

    def first_needed(self, index: int) -> int:
        """The frame from which a frame can be composed without those before it."""
        for start in range(index, 0, -1):
            frame = self.frames[start]
            stays = start == index or frame.disposal is not Disposal.RESTORE
            if stays and self._hides_all(frame):
                return start
        return 0

    def _hides_all(self, frame: Frame) -> bool:
        covers = (
            frame.left == frame.upper == 0
            and frame.width >= self.width
            and frame.height >= self.height
        )
        return covers and (frame.is_opaque or not frame.blends)
