"""Types by leading bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmr.thumbnailing.model import STILL_TYPES, Refusal, Refused
from mmr.thumbnailing.sniff import check_type, plain_type, sniff

from tests.thumbnailing.images import (
    BLUE,
    RED,
    encoded,
    gif_of,
    quadrants,
    samples,
)

LEADING = {
    "image/bmp": encoded(quadrants(8, 8), "BMP"),
    "image/tiff": encoded(quadrants(8, 8), "TIFF"),
    "image/avif": b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf",
    "image/heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
    "image/jxl": b"\x00\x00\x00\x0cJXL \r\n\x87\n",
    "video/mp4": b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41",
    "video/quicktime": b"\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00qt  ",
    "video/webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01",
    "audio/ogg": b"OggS\x00\x02",
    "audio/flac": b"fLaC\x00\x00\x00\x22",
    "audio/wav": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "audio/mpeg": b"\xff\xfb\x90\x64\x00\x00",
    "audio/aac": b"\xff\xf1\x50\x80\x00\x1f",
    "audio/mp4": b"\x00\x00\x00\x1cftypM4A \x00\x00\x02\x00M4A isomiso2",
    "image/svg+xml": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "application/pdf": b"%PDF-1.7\n",
    **samples(),
}


@pytest.mark.parametrize("content_type", sorted(LEADING))
def test_every_type_is_named_by_its_bytes(content_type: str) -> None:
    sniffed = sniff(LEADING[content_type])

    assert sniffed is not None
    assert sniffed.content_type == content_type
    assert sniffed.family == content_type.partition("/")[0]


@pytest.mark.parametrize("content_type", sorted(LEADING))
@pytest.mark.parametrize("label", [*sorted(LEADING), "text/html", "", "image/x-foo"])
def test_a_label_never_picks_the_decoder(content_type: str, label: str) -> None:
    """R28: the bytes decide; a label of another family refuses."""
    if content_type not in STILL_TYPES:
        reason = Refusal.UNSUPPORTED
    elif not label.startswith("image/"):
        reason = Refusal.MISLABELLED
    else:
        sniffed = check_type(LEADING[content_type], label, STILL_TYPES)
        assert sniffed.content_type == content_type
        return
    with pytest.raises(Refused) as caught:
        check_type(LEADING[content_type], label, STILL_TYPES)
    assert caught.value.reason is reason


# Of containers for sound and pictures the label says which is meant (see below).
TWINS = {
    ("video/mp4", "audio/mp4"),
    ("video/webm", "audio/webm"),
    ("audio/mp4", "video/mp4"),
    ("audio/ogg", "video/ogg"),
}


@pytest.mark.parametrize("content_type", sorted(LEADING))
@pytest.mark.parametrize("label", [*sorted(LEADING), "text/html", "", "image/x-foo"])
def test_nor_does_it_where_every_type_is_listed(content_type: str, label: str) -> None:
    """R28: refused, or drawn as what it is; never handed to a third decoder."""
    everything = frozenset(LEADING) | {twin for _, twin in TWINS}
    family = plain_type(label).partition("/")[0]
    possible = [content_type, *(b for a, b in TWINS if a == content_type)]
    meant = [name for name in possible if name.partition("/")[0] == family]
    if meant:
        found = check_type(LEADING[content_type], label, everything)
        assert [found.content_type] == meant
        return
    with pytest.raises(Refused) as caught:
        check_type(LEADING[content_type], label, everything)
    assert caught.value.reason is Refusal.MISLABELLED


def test_a_type_that_the_operator_did_not_list_is_refused() -> None:
    """R28."""
    with pytest.raises(Refused):
        check_type(LEADING["image/webp"], "image/webp", frozenset({"image/jpeg"}))


def test_aliases_and_parameters_mean_the_plain_type() -> None:
    allowed = frozenset({"image/jpg"})

    assert plain_type("Image/JPG; q=1") == "image/jpeg"
    assert check_type(LEADING["image/jpeg"], "image/jpg", allowed)


@pytest.mark.parametrize(
    ("content_type", "label", "meant"),
    [
        ("video/mp4", "audio/mp4", "audio/mp4"),
        ("video/mp4", "audio/x-m4a", "audio/mp4"),
        ("video/webm", "audio/webm", "audio/webm"),
        ("audio/mp4", "video/mp4", "video/mp4"),
        ("audio/ogg", "video/ogg", "video/ogg"),
        ("audio/ogg", "application/ogg", "audio/ogg"),
    ],
)
def test_of_a_container_for_both_the_label_says_which(
    content_type: str, label: str, meant: str
) -> None:
    """R28: either is what the bytes may be; the decoder is the same program."""
    sniffed = check_type(LEADING[content_type], label, frozenset({meant}))

    assert sniffed.content_type == meant
    with pytest.raises(Refused):
        check_type(LEADING[content_type], "image/png", frozenset({meant, content_type}))


def test_animations_that_announce_themselves_are_known() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    for format in ("PNG", "WEBP"):
        moving = encoded(
            frames[0], format, save_all=True, append_images=frames[1:], duration=50
        )
        sniffed = sniff(moving)
        assert sniffed is not None
        assert sniffed.animated
    for content_type in ("image/png", "image/webp"):
        still = sniff(LEADING[content_type])
        assert still is not None
        assert not still.animated
    assert sniff(gif_of([RED, BLUE], (8, 8))) is not None


@given(st.binary(max_size=100))
def test_sniffing_never_fails(head: bytes) -> None:
    sniff(head)


@given(st.sampled_from(sorted(LEADING)), st.integers(0, 60))
def test_sniffing_a_cut_off_file_never_fails(content_type: str, length: int) -> None:
    sniff(LEADING[content_type][:length])
