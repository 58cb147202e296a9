"""What an animation costs a worker doesn't grow with its frames."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.thumbnailing.animated_files import BOMBS

# A process of its own: a high-water mark never goes down.
_MEASURE = """
import resource, sys
from mmr.thumbnailing.model import RenderOptions
from mmr.thumbnailing.renderers import renderer_for
from mmr.thumbnailing.sizes import TargetSize
from mmr.thumbnailing.sniff import sniff
from mmr.types import Method

data = sys.stdin.buffer.read()
renderer = renderer_for(sniff(data).content_type)
target = TargetSize(320, 240, Method.SCALE, animated=True)
(result,) = renderer.render(data, [target], RenderOptions(max_pixels=1 << 30))
assert result.animated
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(data: bytes) -> int:
    """KiB that a process had at most while it drew the animation."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE], input=data, capture_output=True, check=True
    )
    return int(done.stdout)


@pytest.mark.parametrize("format", BOMBS)
def test_memory_does_not_grow_with_the_frames(format: str) -> None:
    """Issue 4. A canvas of 640 by 480 is 1.2 MiB; 300 of them would be 350."""
    few, many = (peak(BOMBS[format](count, (640, 480))) for count in (10, 300))

    assert many - few < 16 * 1024
