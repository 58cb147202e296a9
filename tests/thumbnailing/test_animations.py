"""Animations stay animations: the right frames, for as long, within a budget."""

from __future__ import annotations

import time

import pytest
from PIL import Image

from mmr.thumbnailing.checks import check_result
from mmr.thumbnailing.model import MAX_FRAMES, Refusal, RenderOptions
from mmr.thumbnailing.protocol import Part
from mmr.thumbnailing.renderers import moving as moving_module
from mmr.thumbnailing.renderers.base import Encoded
from mmr.thumbnailing.sizes import TargetSize
from mmr.types import Method

from tests.thumbnailing.animated_files import (
    BOMBS,
    FORMATS,
    animation_of,
    gif_of_parts,
    moving,
    played,
)
from tests.thumbnailing.images import (
    BLUE,
    GREEN,
    RED,
    encoded,
    exif_block,
    gif_of,
    is_near,
    opened,
    oriented,
    png_chunk,
    quadrants,
    similarity,
)
from tests.thumbnailing.rendering import OPTIONS, answered, has_quadrants, probe, render

BOX = TargetSize(80, 60, Method.SCALE, animated=True)
CLEAR = (0, 0, 0, 0)


def animated(
    data: bytes, target: TargetSize = BOX, options: RenderOptions = OPTIONS
) -> Encoded:
    """The thumbnail, which must move and pass the server's own check."""
    (result,) = render(data, target, options=options)
    assert result.animated
    part = Part(
        result.content_type, result.width, result.height, len(result.data), True
    )
    assert check_result(probe(data, options), target, part, result.data)
    return result


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_motion_comes_out_as_it_went_in(format: str, alpha: bool) -> None:
    data = moving(format, alpha=alpha)
    result = animated(data)

    assert result.content_type == FORMATS[format]
    before, after = played(data), played(result.data)
    assert after.durations == before.durations
    for source, shown in zip(before.frames, after.frames, strict=True):
        assert shown.size == (80, 60)
        wanted = source.convert("RGBa").resize((80, 60), Image.Resampling.LANCZOS)
        wanted = wanted.convert("RGBA")
        ground = Image.new("RGBA", (80, 60), "white")
        pair = [Image.alpha_composite(ground, image) for image in (wanted, shown)]
        assert similarity(*pair) > 0.93
        for place in ((2, 2), (78, 58)):
            if alpha:
                assert shown.getpixel(place)[3] == 0
            else:
                assert is_near(shown.getpixel(place)[:3], (20, 40, 160), 8)


@pytest.mark.parametrize("source", FORMATS)
def test_webp_takes_the_place_of_other_animations(source: str) -> None:
    target = TargetSize(80, 60, Method.SCALE, animated=True, webp=True)
    result = animated(moving(source), target)

    assert result.content_type == "image/webp"
    assert len(played(result.data).frames) == 6


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("durations", [[30, 500, 20, 1000, 70, 250]])
@pytest.mark.parametrize("loop", [0, 3])
def test_durations_and_repetitions_are_kept(
    format: str, durations: list[int], loop: int
) -> None:
    data = moving(format, duration=durations, loop=loop)
    before, after = animation_of(data), animation_of(animated(data).data)

    assert [frame.duration_ms for frame in after.frames] == durations
    assert after.plays == before.plays
    assert bool(after.plays) == bool(loop)


def test_a_gif_that_plays_once_plays_once() -> None:
    data = gif_of([RED, GREEN, BLUE], (200, 150))
    assert b"NETSCAPE" not in data

    result = animated(data)
    assert animation_of(result.data).plays == 1
    assert b"NETSCAPE" not in result.data


def test_durations_that_nobody_can_follow_are_those_of_browsers_in_webp() -> None:
    data = moving("GIF", duration=0)
    target = TargetSize(80, 60, Method.SCALE, animated=True, webp=True)

    assert {f.duration_ms for f in animation_of(animated(data).data).frames} == {0}
    result = animated(data, target)
    assert {f.duration_ms for f in animation_of(result.data).frames} == {100}


@pytest.mark.parametrize(
    ("disposal", "left_half", "right_half"),
    [
        (0, (*BLUE, 255), (*RED, 255)),
        (1, (*BLUE, 255), (*RED, 255)),
        (2, (*BLUE, 255), CLEAR),
        (3, (*BLUE, 255), (*GREEN, 255)),
    ],
)
def test_what_a_frame_leaves_behind(
    disposal: int, left_half: tuple[int, ...], right_half: tuple[int, ...]
) -> None:
    """Green all over, then red all over with this disposal, then blue at the left."""
    data = gif_of_parts(
        (200, 150),
        [
            ((0, 0, 200, 150), GREEN, 1),
            ((0, 0, 200, 150), RED, disposal),
            ((0, 0, 100, 150), BLUE, 1),
        ],
    )
    last = played(animated(data).data).frames[2]

    assert is_near(last.getpixel((10, 30)), left_half, 4)
    if right_half == CLEAR:
        assert last.getpixel((70, 30))[3] == 0
    else:
        assert is_near(last.getpixel((70, 30)), right_half, 4)


@pytest.mark.parametrize("format", ["GIF", "PNG"])
@pytest.mark.parametrize("disposal", [0, 1, 2])
def test_frames_are_composed_as_by_another_reader(format: str, disposal: int) -> None:
    data = moving(format, alpha=True, disposal=disposal if format == "PNG" else 2)
    still = TargetSize(240, 180, Method.SCALE, animated=True)
    before, after = played(data), played(animated(data, still).data)

    for source, shown in zip(before.frames, after.frames, strict=True):
        for place in ((5, 5), (120, 80), (200, 100), (20, 60)):
            there, here = source.getpixel(place), shown.getpixel(place)
            assert there[3] == here[3]
            assert there[3] == 0 or is_near(there, here, 8)


def test_a_frame_smaller_than_the_canvas_leaves_the_rest_transparent() -> None:
    data = gif_of_parts(
        (200, 150),
        [((50, 50, 150, 100), RED, 1), ((60, 60, 100, 90), BLUE, 1)],
    )
    for shown in played(animated(data).data).frames:
        assert shown.getpixel((4, 4))[3] == 0
        assert is_near(shown.getpixel((55, 35)), (*RED, 255), 4)


def test_frames_reach_past_the_canvas_and_are_cut() -> None:
    """R30."""
    data = gif_of_parts(
        (200, 150),
        [
            ((0, 0, 200, 150), GREEN, 1),
            ((100, 0, 900, 700), RED, 1),
            ((5000, 5000, 5010, 5010), BLUE, 1),
        ],
    )
    shown = played(animated(data).data)
    assert shown.frames[2].size == (80, 60)
    assert is_near(shown.frames[2].getpixel((10, 30)), (*GREEN, 255), 4)
    assert is_near(shown.frames[2].getpixel((70, 30)), (*RED, 255), 4)


def test_transparent_parts_of_a_frame_show_what_is_below() -> None:
    data = gif_of_parts(
        (200, 150),
        [((0, 0, 200, 150), GREEN, 1), ((0, 0, 200, 150), RED, 1)],
        see_through=0,
    )
    holes = gif_of_parts((200, 150), [((0, 0, 200, 150), RED, 1)] * 2, see_through=100)
    assert is_near(
        played(animated(data).data).frames[1].getpixel((9, 9)), (*RED, 255), 4
    )
    shown = played(animated(holes).data).frames[1]
    assert shown.getpixel((9, 9))[3] == 0
    assert is_near(shown.getpixel((70, 9)), (*RED, 255), 4)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
@pytest.mark.parametrize("method", Method)
def test_orientation_turns_every_frame(format: str, method: Method) -> None:
    """D57."""
    stored = oriented(quadrants(), 6)
    other = stored.copy()
    other.paste((9, 9, 9), (0, 0, 9, 9))
    data = encoded(
        stored,
        format,
        save_all=True,
        append_images=[other],
        duration=50,
        exif=exif_block(6),
        quality=95,
    )
    target = TargetSize(100, 60, method, animated=True)

    for frame in played(animated(data, target).data).frames:
        assert frame.size == ((80, 60) if method is Method.SCALE else (100, 60))
        assert has_quadrants(frame, 40)


@pytest.mark.parametrize("format", FORMATS)
def test_the_crop_is_the_centre_of_every_frame(format: str) -> None:
    target = TargetSize(40, 40, Method.CROP, animated=True)
    result = animated(moving(format), target)

    assert {frame.size for frame in played(result.data).frames} == {(40, 40)}


@pytest.mark.parametrize("format", FORMATS)
def test_one_job_draws_still_and_moving(format: str) -> None:
    targets = [BOX, TargetSize(32, 32, Method.CROP), BOX]
    first, still, again = render(moving(format), *targets)

    assert (first.animated, still.animated, again.animated) == (True, False, True)
    assert first == again
    assert (still.width, still.height) == (32, 32)
    assert getattr(opened(still.data), "n_frames", 1) == 1


@pytest.mark.parametrize(
    ("still", "colour"), [(0.0, RED), (0.5, GREEN), (1.0, BLUE), (-3.0, RED)]
)
def test_the_still_frame_of_a_webp_is_chosen_too(
    still: float, colour: tuple[int, int, int]
) -> None:
    """D58."""
    frames = [Image.new("RGB", (200, 150), each) for each in (RED, GREEN, BLUE)]
    data = encoded(
        frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=50
    )
    (result,) = render(data, options=RenderOptions(still_frame=still))

    assert not result.animated
    assert is_near(opened(result.data).convert("RGB").getpixel((9, 9)), colour, 20)


def test_a_still_of_a_late_frame_starts_at_the_last_full_picture() -> None:
    whole = [((0, 0, 200, 150), RED, 1)] * 3
    data = gif_of_parts((200, 150), whole)
    animation = animation_of(data)

    assert animation.first_needed(2) == 0  # GIF: any frame may have holes
    webp = animation_of(BOMBS["WEBP"](5, (8, 8)))
    assert webp.first_needed(4) == 4


@pytest.mark.parametrize("format", FORMATS)
def test_a_single_frame_is_a_still_picture(format: str) -> None:
    data = BOMBS[format](1, (200, 150))

    assert not probe(data).is_animated
    (result,) = render(data, BOX)
    assert not result.animated


@pytest.mark.parametrize("format", FORMATS)
def test_more_frames_than_the_budget_become_a_still_picture(format: str) -> None:
    """R31."""
    data = BOMBS[format](MAX_FRAMES + 1, (20, 20))

    info = probe(data)
    assert (info.is_animated, info.can_animate) == (True, False)
    (result,) = render(data, BOX)
    assert not result.animated
    assert probe(BOMBS[format](MAX_FRAMES, (20, 20))).can_animate


@pytest.mark.parametrize("format", FORMATS)
def test_more_pixels_than_the_budget_become_a_still_picture(format: str) -> None:
    """R31."""
    data = BOMBS[format](9, (200, 100))

    assert probe(data, RenderOptions(max_pixels=45_000)).can_animate
    assert not probe(data, RenderOptions(max_pixels=44_999)).can_animate


def test_an_animation_that_lasts_for_hours_becomes_a_still_picture() -> None:
    assert not probe(moving("GIF", duration=200_000)).can_animate


@pytest.mark.parametrize("limit", ["MAX_ANIMATION_BYTES", "MAX_ANIMATION_CPU_SECONDS"])
def test_an_animation_that_gets_too_costly_becomes_a_still_picture(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """R31, R39."""
    monkeypatch.setattr(moving_module, limit, 0)
    (result,) = render(moving("GIF"), BOX)

    assert not result.animated
    assert result.content_type == "image/png"


@pytest.mark.parametrize("format", FORMATS)
def test_bombs_cost_little(format: str) -> None:
    """R31: kilobytes that claim 10,000 frames."""
    data = BOMBS[format](10_000)
    started = time.process_time()

    (result,) = render(data, BOX)

    assert not result.animated
    assert time.process_time() - started < 5


@pytest.mark.parametrize("format", FORMATS)
def test_a_frame_that_lies_about_its_size_is_an_error(format: str) -> None:
    """R30."""
    data = bytearray(moving(format))
    mark, behind = {
        "GIF": (b"\x21\xf9\x04", 13),
        "PNG": (b"fcTL", 8),
        "WEBP": (b"ANMF", 14),
    }[format]
    at = data.rindex(mark) + behind
    for offset in range(4):
        broken = bytes(data[: at + offset]) + b"\xff" + bytes(data[at + offset + 1 :])
        reply = answered(broken)
        assert reply.refusal in (None, Refusal.BROKEN, Refusal.TOO_LARGE)


def test_an_apng_whose_frames_make_no_sense_is_a_still_picture() -> None:
    """As in browsers: the default image is fine."""
    good = moving("PNG")
    at = good.index(b"fdAT")
    wrong_order = good[: at + 4] + b"\x00\x00\x00\x09" + good[at + 8 :]
    (length,) = (int.from_bytes(good[at - 4 : at], "big"),)
    without_pixels = good[: at - 4] + good[at + 8 + length :]
    no_control = good.replace(b"acTL", b"acTx")
    outside = bytearray(good)
    control = good.rindex(b"fcTL")
    outside[control + 16 : control + 20] = b"\x00\x00\xff\xff"

    for data in (wrong_order, without_pixels, no_control, bytes(outside)):
        assert not probe(data).is_animated
        assert render(data, BOX)[0].content_type == "image/png"


def test_a_default_image_that_is_no_frame_is_the_still_picture() -> None:
    frames = [Image.new("RGB", (200, 150), each) for each in (RED, GREEN, BLUE)]
    data = encoded(
        frames[0],
        "PNG",
        save_all=True,
        append_images=frames[1:],
        default_image=True,
        duration=50,
    )
    still, moves = render(data, TargetSize(80, 60, Method.SCALE), BOX)

    assert is_near(opened(still.data).convert("RGB").getpixel((9, 9)), RED, 2)
    colours = [frame.getpixel((9, 9))[:3] for frame in played(moves.data).frames]
    assert colours == [GREEN, BLUE]


def test_no_metadata_of_an_animation_reaches_the_thumbnail() -> None:
    """R32."""
    secret = b"SECRETPLACE"
    png = moving("PNG")
    text = png_chunk(b"tEXt", b"Comment\x00" + secret)
    sources = [
        moving("GIF", comment=secret),
        png[:33] + text + png[33:],
        moving("WEBP", exif=exif_block(1), xmp=secret),
    ]
    for data in sources:
        assert secret in data
        assert secret not in animated(data).data


def test_the_check_of_the_server_refuses_wrong_animations() -> None:
    """R39."""
    data = moving("GIF")
    result = animated(data)
    info = probe(data)
    good = Part("image/gif", 80, 60, len(result.data), True)
    still = TargetSize(80, 60, Method.SCALE)

    assert check_result(info, BOX, good, result.data)
    assert not check_result(info, still, good, result.data)
    shorter = result.data[:-30]
    for part, content in (
        (Part("image/gif", 80, 60, len(result.data), False), result.data),
        (Part("image/gif", 80, 61, len(result.data), True), result.data),
        (Part("image/webp", 80, 60, len(result.data), True), result.data),
        (Part("image/gif", 80, 60, len(shorter), True), shorter),
    ):
        assert not check_result(info, BOX, part, content)
