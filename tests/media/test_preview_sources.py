"""The small decisions on the way to a preview."""

from __future__ import annotations

import pytest

from mmr.media.preview_sources import _combined, _describe
from mmr.previews.model import MAX_IMAGES, ImageCandidate, Preview


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (None, "video/mp4"),
        (0, "video/mp4, 0 B"),
        (999, "video/mp4, 999 B"),
        (1000, "video/mp4, 1 kB"),
        (3_400_000, "video/mp4, 3.4 MB"),
        (7_000_000_000, "video/mp4, 7 GB"),
        (10**18, "video/mp4, 1e+06 TB"),
    ],
)
def test_a_file_is_described_by_type_and_size(length: int | None, text: str) -> None:
    assert _describe("video/mp4", length) == text


def test_a_type_is_plain_text_of_bounded_length() -> None:
    """R27."""
    assert len(_describe("a" * 5000, None)) <= 100
    assert "\x1b" not in _describe("a\x1bb", 1)


def test_what_one_source_doesnt_say_the_other_does() -> None:
    images = [ImageCandidate(f"http://a/{n}") for n in range(8)]
    first = Preview("http://a/", title="First", images=tuple(images[:4]))
    second = Preview("http://b/", "Site", "video", "Second", "Text", tuple(images[3:]))
    combined = _combined(first, second)
    assert combined == Preview(
        "http://a/", "Site", "video", "First", "Text", tuple(images[:MAX_IMAGES])
    )
