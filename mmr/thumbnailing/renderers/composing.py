"""Frames laid on one another, as browsers do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from PIL import Image

from mmr.thumbnailing.containers.frames import Animation, Disposal, Frame

_CLEAR = (0, 0, 0, 0)


def compose(
    animation: Animation, decode: Callable[[Frame], Image.Image], first: int = 0
) -> Iterator[tuple[Frame, Image.Image]]:
    """Each frame with the canvas as it is seen then, from the first one named.

    The canvas is one image that changes: memory doesn't grow with the frames.

    Args:
        animation: The frames.
        decode: Gives a frame's own pixels as RGB or RGBA.
        first: Where to begin; see `Animation.first_needed`.
    """
    canvas = Image.new("RGBA", (animation.width, animation.height), _CLEAR)
    for frame in animation.frames[first:]:
        box = (
            frame.left,
            frame.upper,
            min(frame.left + frame.width, animation.width),
            min(frame.upper + frame.height, animation.height),
        )
        restores = frame.disposal is Disposal.RESTORE
        before = canvas.crop(box) if restores else None
        _lay(canvas, decode(frame), frame, box)
        yield frame, canvas
        if before is not None:
            canvas.paste(before, box)
        elif frame.disposal is Disposal.CLEAR:
            canvas.paste(_CLEAR, box)


def _lay(
    canvas: Image.Image,
    patch: Image.Image,
    frame: Frame,
    box: tuple[int, int, int, int],
) -> None:
    visible = (box[2] - box[0], box[3] - box[1])
    if min(visible) <= 0:
        return
    if patch.size != visible:
        patch = patch.crop((0, 0, *visible))
    if frame.blends and patch.mode == "RGBA":
        canvas.alpha_composite(patch, (frame.left, frame.upper))
    else:
        canvas.paste(patch, box)
