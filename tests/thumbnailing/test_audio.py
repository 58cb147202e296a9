"""Waveforms and covers, drawn by real workers (mmr-http-api §6.5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from PIL import Image

from mmr.thumbnailing.desk import Desk
from mmr.thumbnailing.ffmpeg import HEARD_SECONDS
from mmr.thumbnailing.model import Refusal, Refused, RenderOptions
from mmr.thumbnailing.sizes import TargetSize
from mmr.types import Method

from tests.thumbnailing.images import GREEN, is_near, opened
from tests.thumbnailing.media_files import (
    BOX,
    TYPES,
    audio,
    audio_with_cover,
    desk,
    ffmpeg,
    video,
    work,
)

BACKGROUND, BARS = (41, 57, 92), (240, 240, 240)
ARTWORK = 158  # round(0.66 * 240)
FIRST_BAR = 16 + ARTWORK + 16


@pytest.fixture(scope="module")
def place() -> Iterator[Desk]:
    with desk() as place:
        yield place


def drawn(place: Desk, data: bytes, content_type: str) -> Image.Image:
    (result,) = work(place, data, content_type, BOX).rendered
    assert result.content_type == "image/png"
    image = opened(result.data)
    assert image.size == (result.width, result.height) == (320, 240)
    return image.convert("RGB")


def bars(image: Image.Image) -> list[int]:
    """Where there are any: their lengths."""
    columns = (
        [image.getpixel((x, y)) for y in range(image.height)]
        for x in range(FIRST_BAR, image.width)
    )
    return [column.count(BARS) for column in columns]


@pytest.mark.parametrize("ending", ["mp3", "ogg", "wav", "flac", "aac", "m4a"])
def test_sound_is_drawn_beside_its_artwork(place: Desk, ending: str) -> None:
    """D42: matrix-media-repo's fail always."""
    image = drawn(place, audio(ending), TYPES[ending])

    lengths = bars(image)
    assert all(lengths[:100])
    assert 5 < max(lengths) < 112
    assert lengths[-15:] == [0] * 15
    assert image.getpixel((4, 120)) == BACKGROUND
    assert image.getpixel((16 + ARTWORK // 4, 120)) != BACKGROUND


def test_a_label_of_sound_for_a_container_of_both_means_the_sound(place: Desk) -> None:
    in_webm = ffmpeg("webm", "-f", "lavfi", "-i", "sine=duration=1", "-c:a", "libopus")
    (result,) = work(
        place,
        in_webm,
        "audio/webm",
        BOX,
        options=RenderOptions(allowed_types=frozenset({"audio/webm"})),
    ).rendered

    assert result.content_type == "image/png"


def test_a_cover_is_shown_in_the_square(place: Desk) -> None:
    cover = Image.new("RGB", (300, 200), GREEN)
    image = drawn(place, audio_with_cover(cover), "audio/mpeg")

    for x, y in ((18, 44), (16 + ARTWORK - 3, 41 + ARTWORK - 3), (90, 120)):
        assert is_near(image.getpixel((x, y)), GREEN, 12), (x, y)
    assert image.getpixel((8, 120)) == BACKGROUND
    assert max(bars(image)) > 5


def test_a_broken_cover_is_none(place: Desk) -> None:
    data = audio_with_cover(Image.new("RGB", (300, 200), GREEN))
    at = data.index(b"IDAT")
    image = drawn(place, data[:at] + b"ID@T" + data[at + 4 :], "audio/mpeg")

    assert not is_near(image.getpixel((90, 45)), GREEN, 60)
    assert max(bars(image)) > 5


def test_each_size_is_exact(place: Desk) -> None:
    targets = [
        TargetSize(32, 32, Method.CROP),
        TargetSize(800, 600, Method.SCALE),
        TargetSize(1, 1, Method.CROP),
    ]
    results = work(place, audio("wav"), "audio/wav", *targets).rendered

    assert [(each.width, each.height) for each in results] == [
        (target.width, target.height) for target in targets
    ]


def test_a_description_tells_what_a_player_needs(place: Desk) -> None:
    info = work(place, audio("wav"), "audio/wav").info

    assert info.duration == pytest.approx(3.0, abs=0.1)
    assert info.sound is not None
    assert info.sound.channels == 2
    assert info.sound.samples == pytest.approx(3 * 44100, rel=0.02)
    assert 100 < len(info.sound.key_samples) <= 768
    left, right = info.sound.key_samples[50]
    assert left == right
    assert max(one for one, _ in info.sound.key_samples) > 0.05


def wav(samples: bytes, claimed: int) -> bytes:
    """8 kHz, mono, 8 bits, with any length in its header."""
    form = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", claimed) + samples
    return b"RIFF" + struct.pack("<I", min(36 + claimed, 0xFFFFFFFF)) + body


def test_a_header_of_ten_hours_over_one_second_is_not_believed(place: Desk) -> None:
    """R37."""
    claims = wav(bytes(range(250)) * 32, 10 * 3600 * 8000)
    info = work(place, claims, "audio/wav").info

    assert info.duration == pytest.approx(1.0, abs=0.1)
    assert drawn(place, claims, "audio/wav")


def test_of_long_sound_only_the_beginning_is_decoded(place: Desk) -> None:
    """R37."""
    silence = ("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "3600")
    hour = ffmpeg("flac", *silence, "-compression_level", "0")
    info = work(place, hour, "audio/flac").info

    assert info.duration == pytest.approx(3600, abs=1)
    assert info.sound is not None
    assert info.sound.samples == pytest.approx(3600 * 8000, rel=0.01)


def test_what_is_past_the_beginning_is_not_heard(place: Desk) -> None:
    """R37: silence for as long as anybody listens, then a tone."""
    quiet = f"anullsrc=r=8000:cl=mono:d={HEARD_SECONDS + 10}"
    both = ("-f", "lavfi", "-i", quiet, "-f", "lavfi", "-i", "sine=r=8000:d=600")
    joined = ("-filter_complex", "concat=n=2:v=0:a=1", "-compression_level", "0")
    data = ffmpeg("flac", *both, *joined)
    sound = work(place, data, "audio/flac").info.sound

    assert sound is not None
    assert set(sound.key_samples) == {(0.0, 0.0)}
    assert max(bars(drawn(place, data, "audio/flac"))) <= 1


def test_sound_of_no_length_has_no_bars(place: Desk) -> None:
    """R37."""
    assert set(bars(drawn(place, wav(b"", 0), "audio/wav"))) == {0}
    assert work(place, wav(b"", 0), "audio/wav").info.duration == 0


@pytest.mark.parametrize(
    "data",
    [b"ID3\x04\x00\x00\x00\x00\x00\x00", b"OggS" + bytes(200), b"fLaC" + bytes(99)],
)
def test_what_only_begins_like_sound_is_broken(place: Desk, data: bytes) -> None:
    types = {b"I": "audio/mpeg", b"O": "audio/ogg", b"f": "audio/flac"}
    with pytest.raises(Refused) as caught:
        work(place, data, types[data[:1]], BOX)

    assert caught.value.reason is Refusal.BROKEN


def test_a_film_without_sound_is_no_audio(place: Desk) -> None:
    with pytest.raises(Refused) as caught:
        work(place, video("mp4"), "audio/mp4", BOX)

    assert caught.value.reason is Refusal.BROKEN
