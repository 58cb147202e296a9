"""Blurhashes: the algorithm, and what of it comes out of a worker."""

from __future__ import annotations

import json
import random
from typing import Any

import attrs
import pytest
from PIL import Image

from mmr.thumbnailing.blurhash import blurhash, blurhash_of
from mmr.thumbnailing.model import BlurhashSize, ImageInfo, RenderOptions, Sound
from mmr.thumbnailing.protocol import Job, Reply
from mmr.thumbnailing.renderers import renderer_for
from mmr.util.confined.channel import ProtocolError

from tests.thumbnailing.images import encoded, quadrants

SIZE = BlurhashSize(64, 64, 4, 3)


def noise(seed: int) -> Image.Image:
    """Pixels that are the same on every machine."""
    random.seed(seed)
    width, height = random.randint(3, 20), random.randint(3, 20)
    image = Image.new("RGB", (width, height))
    image.putdata(
        [
            (random.randrange(256), random.randrange(256), random.randrange(256))
            for _ in range(width * height)
        ]
    )
    return image


@pytest.mark.parametrize(
    ("colour", "expected"), [("black", "000000"), ("white", "00TSUA")]
)
def test_one_component_is_the_average(colour: str, expected: str) -> None:
    """The digits are those of the colour's number, to the base of 83."""
    assert blurhash(Image.new("RGB", (8, 8), colour), 1, 1) == expected


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (0, "L9HC7h?w4{{W=fNX%4pH*ppti+-q"),
        (1, "LwHCv3*GS$$*^Qsri*w3N4wRrvSd"),
        (2, "LbK1wK?Ih~~nL2J|ROIdM]TkPvSz"),
        (3, "LFH.A}?qnX^n=Kv~xbAptQS2s;xV"),
        (4, "LKHVVG.iRC%h%MxXoaspAWPSx?n#"),
    ],
)
def test_it_is_what_others_make_of_the_same_pixels(seed: int, expected: str) -> None:
    """Vectors made once with the algorithm's own implementation in Python."""
    assert blurhash(noise(seed), 4, 3) == expected


@pytest.mark.parametrize("across", [1, 4, 9])
@pytest.mark.parametrize("down", [1, 3, 9])
def test_its_length_follows_from_the_components(across: int, down: int) -> None:
    assert len(blurhash(noise(1), across, down)) == 4 + 2 * across * down


def test_a_picture_of_one_pixel_has_one() -> None:
    assert blurhash(Image.new("RGB", (1, 1), "red"), 4, 3).startswith("L")


@pytest.mark.parametrize("size", [(400, 300), (5, 3), (2000, 10)])
def test_a_picture_is_filled_into_the_size(size: tuple[int, int]) -> None:
    data = encoded(quadrants(*size), "PNG")
    made = blurhash_of(renderer_for("image/png"), data, SIZE, RenderOptions())

    assert len(made) == 28


def reply(**changes: object) -> Reply:
    info = attrs.evolve(ImageInfo(10, 10, "image/png"), **changes)  # type: ignore[arg-type]
    return Reply(info)


def over_the_wire(message: dict[str, Any]) -> Any:
    return json.loads(json.dumps(message))


def test_a_description_survives_the_way_to_the_server() -> None:
    sound = Sound(1000, 2, ((0.5, -0.5), (1.0, -1.0)))
    sent = reply(duration=2.5, sound=sound, blurhash="LwHCv3")

    assert Reply.decode(over_the_wire(sent.encode()), 0) == sent
    job = Job("image/png", (), RenderOptions(), describe=True, blurhash=SIZE)
    assert Job.decode(over_the_wire(job.encode())) == job


@pytest.mark.parametrize(
    "changes",
    [
        {"duration": float("nan")},
        {"duration": float("inf")},
        {"duration": -1.0},
        {"duration": "1"},
        {"sound": Sound(-1, 2, ())},
        {"sound": Sound(1, 2, ((2.0, 0.0),))},
        {"sound": Sound(1, 2, ((float("nan"), 0.0),))},
        {"sound": Sound(1, 2, ((0.0,),))},  # type: ignore[arg-type]
        {"sound": Sound(1, 2, ((0.0, 0.0),) * 769)},
        {"blurhash": "<script>"},
        {"blurhash": "L" * 167},
        {"blurhash": ""},
        {"width": 0},
        {"content_type": "audio/wav"},
    ],
)
def test_a_worker_that_was_taken_over_is_not_believed(
    changes: dict[str, object],
) -> None:
    """R35."""
    with pytest.raises(ProtocolError):
        Reply.decode(over_the_wire(reply(**changes).encode()), 0)
