"""What is measured, and the wish for each row (issue 4)."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from benchmarks.picture import Size
from benchmarks.targets import Target
from benchmarks.thumbnails.files import (
    BASELINE,
    GRAINY,
    OTHERS,
    SEE_THROUGH,
    Source,
)

NAME = "thumbnails"
PEER = "naive"
SIZES: tuple[Size, ...] = ((32, 32), (96, 96), (320, 240), (640, 480), (800, 600))
_SMALL = SIZES[:3]
_TWO_SIZES = ((320, 240), (800, 600))
ANIMATED = ("GIF", "WEBP")
FEW_FRAMES, MANY_FRAMES = 15, 60
FIVE_SIZES = f"{NAME}/five sizes at once"
WHILE_RENDERING = f"{NAME}/warm download beside eight"
_MOST_SSIM_LOST = 0.005
_MOST_MEMORY = 2
_MOST_ANIMATION_MS = 1200
# A result grows with its frames, and memory is handed out in steps.
_MOST_FRAMES_MB = 4


@attrs.frozen
class Row:
    """One picture at one size.

    Args:
        repeats: Thumbnails in a round: CPU time is counted in ticks of 10 ms.
        least_ratio: Of the naive CPU to ours; None for a row that only informs.
    """

    source: Source
    size: Size
    repeats: int
    least_ratio: float | None

    @property
    def name(self) -> str:
        """As in the report."""
        return f"{NAME}/{self.source.name} {self.size[0]}x{self.size[1]}"


def _rows() -> Iterator[Row]:
    for source in BASELINE:
        for size in SIZES:
            yield Row(source, size, 8, 4.5 if size in _SMALL else 2.5)
    for size in _TWO_SIZES:
        yield Row(GRAINY, size, 8, None)
    for source in OTHERS:
        for size in _TWO_SIZES:
            yield Row(source, size, 3, 1.0)


ROWS = tuple(_rows())


def memory_name(source_name: str) -> str:
    """The row with the memory of a picture."""
    return f"{NAME}/{source_name} memory"


def animation_name(kind: str) -> str:
    """The row of an animated format."""
    return f"{NAME}/{kind.lower()} {MANY_FRAMES} frames"


def _targets() -> Iterator[Target]:
    for row in ROWS:
        if row.least_ratio is not None:
            yield Target(row.name, "cpu_ms", PEER, row.least_ratio)
        yield Target(row.name, "ssim_lost", None, _MOST_SSIM_LOST)
    for source in (*OTHERS, *SEE_THROUGH):
        yield Target(memory_name(source.name), "memory_ratio", None, _MOST_MEMORY)
    yield Target(FIVE_SIZES, "cpu_ms", PEER, 5)
    for kind in ANIMATED:
        yield Target(animation_name(kind), "cpu_ms", None, _MOST_ANIMATION_MS)
        yield Target(animation_name(kind), "frames_mb", None, _MOST_FRAMES_MB)
    yield Target(WHILE_RENDERING, "slowdown", None, 3)


TARGETS = tuple(_targets())
