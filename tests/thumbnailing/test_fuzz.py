"""Damaged files: always an answer, never a lost worker."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmr.thumbnailing.model import STILL_TYPES, Refusal, Refused, RenderOptions
from mmr.thumbnailing.process import WORKER_COMMAND, WorkerSlot
from mmr.thumbnailing.protocol import Job
from mmr.thumbnailing.sizes import TargetSize
from mmr.types import Method
from mmr.util.confined.limits import WorkerLimits

from tests.thumbnailing.images import encoded, exif_block, photo, samples

TARGETS = (
    TargetSize(32, 32, Method.CROP),
    TargetSize(96, 96, Method.SCALE),
    TargetSize(48, 48, Method.SCALE, animated=True),
    TargetSize(48, 48, Method.SCALE, animated=True, webp=True),
)
# So small that libvips may decode, which happens only if nothing larger is wanted.
SMALL = (TargetSize(8, 8, Method.SCALE),)

FRAMES = [photo(64, 48).rotate(angle) for angle in (0, 90, 180, 270)]

GOOD = [
    *samples(photo(64, 48)).values(),
    *(
        encoded(FRAMES[0], format, save_all=True, append_images=FRAMES[1:], duration=50)
        for format in ("GIF", "PNG", "WEBP", "AVIF", "TIFF")
    ),
    encoded(photo(64, 48).quantize(16), "BMP"),
    encoded(photo(64, 48), "TIFF", compression="jpeg"),
    encoded(photo(64, 48).convert("1"), "TIFF", compression="group4"),
    encoded(photo(64, 48), "JPEG", progressive=True, exif=exif_block(6)),
    encoded(photo(64, 48).quantize(16), "PNG"),
    encoded(photo(64, 48).convert("RGBA"), "WEBP", lossless=True),
]

OPTIONS = RenderOptions(max_pixels=1_000_000, allowed_types=STILL_TYPES | {"image/jxl"})

# Where, and what to put there; small numbers hit the headers more often.
edits = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 80), st.integers(0, 5000)),
        st.binary(min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def slot() -> Iterator[WorkerSlot]:
    with tempfile.TemporaryDirectory() as folder:
        slot = WorkerSlot(WORKER_COMMAND, WorkerLimits(jobs=10_000), Path(folder))
        yield slot
        slot.close()


@given(
    st.sampled_from(GOOD),
    st.sampled_from((TARGETS, SMALL)),
    edits,
    st.integers(0, 10_000),
)
@settings(max_examples=400)
def test_a_mutated_file_never_costs_a_worker(
    slot: WorkerSlot,
    good: bytes,
    targets: tuple[TargetSize, ...],
    edits: list[tuple[int, bytes]],
    cut: int,
) -> None:
    data = bytearray(good)
    for at, patch in edits:
        data[at % len(data) : at % len(data) + len(patch)] = patch
    if cut < len(data):
        del data[cut:]
    with tempfile.NamedTemporaryFile() as source:
        source.write(data)
        source.flush()
        job = Job("image/png", targets, OPTIONS)
        refusal, outcome = None, None
        try:
            outcome = slot.run(Path(source.name), job)
        except Refused as refused:
            refusal = refused.reason
    assert refusal is not Refusal.CRASHED
    assert outcome is None or len(outcome.rendered) == len(targets)
