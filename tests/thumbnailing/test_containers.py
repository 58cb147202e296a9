"""Reading containers from outside: whatever the bytes are, an answer or a refusal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.thumbnailing.containers.base import Container
from mmr.thumbnailing.containers.gif import read_gif
from mmr.thumbnailing.containers.jpeg import read_jpeg
from mmr.thumbnailing.containers.png import read_png
from mmr.thumbnailing.containers.webp import read_webp
from mmr.thumbnailing.exif import orientation
from mmr.thumbnailing.model import Refused

from tests.thumbnailing.images import exif_block, gif_of, samples

READERS: dict[str, Callable[[bytes], Container]] = {
    "image/jpeg": read_jpeg,
    "image/png": read_png,
    "image/gif": lambda data: read_gif(data, 1_000_000),
    "image/webp": read_webp,
}


@pytest.mark.parametrize("content_type", sorted(READERS))
def test_the_size_is_found_without_decoding(content_type: str) -> None:
    found = READERS[content_type](samples()[content_type])

    assert (found.width, found.height) == (160, 120)


def test_gif_frames_are_counted() -> None:
    colours = [(red, 0, 0) for red in range(0, 250, 10)]

    assert read_gif(gif_of(colours, (8, 8)), 1000).frames == len(colours)


@given(
    st.sampled_from(sorted(READERS)),
    st.binary(max_size=200),
    st.integers(0, 60),
)
def test_garbage_is_refused_and_nothing_worse(
    content_type: str, garbage: bytes, kept: int
) -> None:
    try:
        found = READERS[content_type](samples()[content_type][:kept] + garbage)
    except Refused:
        return
    assert found.clean


@pytest.mark.parametrize("wanted", range(1, 9))
@pytest.mark.parametrize("prefix", [b"", b"Exif\x00\x00"])
def test_orientation_is_read_in_both_byte_orders(wanted: int, prefix: bytes) -> None:
    entry = {
        "little": b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00"
        + bytes([wanted, 0, 0, 0]),
        "big": b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01"
        + bytes([0, wanted, 0, 0]),
    }

    assert orientation(prefix + entry["little"]) == wanted
    assert orientation(prefix + entry["big"]) == wanted


@given(st.binary(max_size=80), st.integers(0, 100), st.booleans())
def test_a_broken_exif_block_means_upright_or_something_valid(
    garbage: bytes, cut: int, behind: bool
) -> None:
    block = exif_block(6).removeprefix(b"Exif\x00\x00")[:cut]

    assert 1 <= orientation(block + garbage if behind else garbage) <= 8
