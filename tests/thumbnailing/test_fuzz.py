"""Damaged files: always an answer, never a lost worker."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import TestCase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmr.thumbnailing.desk import Desk
from mmr.thumbnailing.model import STILL_TYPES, Refusal, Refused, RenderOptions
from mmr.thumbnailing.process import WORKER_COMMAND, WorkerSlot
from mmr.thumbnailing.protocol import Job
from mmr.thumbnailing.sizes import TargetSize
from mmr.types import Method
from mmr.util.confined.limits import WorkerLimits

from tests.thumbnailing.images import encoded, exif_block, photo, samples
from tests.thumbnailing.media_files import BOX, TYPES, audio, desk, video, work

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

# Where it ends; mostly where it should.
cuts = st.one_of(st.just(1 << 30), st.just(1 << 30), st.integers(0, 10_000))


@pytest.fixture(scope="module")
def slot() -> Iterator[WorkerSlot]:
    with tempfile.TemporaryDirectory() as folder:
        slot = WorkerSlot(WORKER_COMMAND, WorkerLimits(jobs=10_000), Path(folder))
        yield slot
        slot.close()


def mutated(good: bytes, edits: list[tuple[int, bytes]], cut: int) -> bytes:
    data = bytearray(good)
    for at, patch in edits:
        data[at % len(data) : at % len(data) + len(patch)] = patch
    return bytes(data[:cut])


@given(
    st.sampled_from(GOOD),
    st.sampled_from((TARGETS, SMALL)),
    edits,
    cuts,
)
@settings(max_examples=400)
def test_a_mutated_file_never_costs_a_worker(
    slot: WorkerSlot,
    good: bytes,
    targets: tuple[TargetSize, ...],
    edits: list[tuple[int, bytes]],
    cut: int,
) -> None:
    data = mutated(good, edits, cut)
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


@pytest.fixture(scope="module")
def place() -> Iterator[Desk]:
    with desk(WorkerLimits(jobs=10_000)) as place:
        yield place


def by_programs() -> dict[str, bytes]:
    """Good files for each of the programs, by their type."""
    page = io.BytesIO()
    photo(64, 48).save(page, "PDF")
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg"><text y="9">a</text></svg>'
    endings = ("mp3", "ogg", "flac", "m4a")
    return {
        **{TYPES[ending]: audio(ending, "-t", "0.3") for ending in endings},
        "video/mp4": video("mp4", "-t", "0.3"),
        "video/webm": video("webm", "-t", "0.3"),
        "application/pdf": page.getvalue(),
        "image/svg+xml": drawing,
    }


@given(st.data(), edits, cuts)
@settings(max_examples=40, deadline=None)
def test_nor_does_one_that_programs_read(
    place: Desk, data: st.DataObject, edits: list[tuple[int, bytes]], cut: int
) -> None:
    files = by_programs()
    content_type = data.draw(st.sampled_from(sorted(files)))
    lost_workers = TestCase().assertNoLogs("mmr.util.confined.process", "WARNING")
    with lost_workers, contextlib.suppress(Refused):
        work(place, mutated(files[content_type], edits, cut), content_type, BOX)
