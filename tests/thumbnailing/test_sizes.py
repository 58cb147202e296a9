"""Picking sizes and fitting pictures into them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.thumbnailing.model import ImageInfo
from mmr.thumbnailing.sizes import DEFAULT_SIZES, TargetSize, fit, fits, pick_size
from mmr.types import Method

SCALE, CROP = Method.SCALE, Method.CROP

sides = st.integers(1, 70_000)
methods = st.sampled_from(Method)


@pytest.mark.parametrize(
    ("wanted", "method", "picked"),
    [
        ((96, 96), SCALE, (96, 96)),
        ((100, 100), SCALE, (320, 240)),
        ((1, 1), SCALE, (32, 32)),
        ((320, 241), SCALE, (640, 480)),
        ((10_000, 10_000), SCALE, (800, 600)),
        ((10**20, 1), SCALE, (800, 600)),
        ((100, 100), CROP, (240, 240)),
        ((10_000, 10_000), CROP, (600, 600)),
        ((10**20, 1), CROP, (800, 1)),
        ((800, 300), CROP, (800, 300)),
        ((400, 300), CROP, (640, 480)),
    ],
)
def test_picks_the_configured_size_that_the_reference_picks(
    wanted: tuple[int, int], method: Method, picked: tuple[int, int]
) -> None:
    assert pick_size(DEFAULT_SIZES, *wanted, method) == TargetSize(*picked, method)


def test_a_later_entry_wins_only_if_both_its_sides_are_smaller() -> None:
    sizes = [(800, 600), (700, 600), (640, 480), (650, 470)]

    assert pick_size(sizes, 100, 100, SCALE) == TargetSize(640, 480, SCALE)


def test_dynamic_sizing_gives_any_size_up_to_the_largest() -> None:
    sizes = [(800, 100), (100, 600)]

    assert pick_size(sizes, 123, 77, CROP, dynamic=True) == TargetSize(123, 77, CROP)
    clamped = pick_size(sizes, 10**20, 10**20, SCALE, dynamic=True)
    assert clamped == TargetSize(800, 600, SCALE)


def test_without_configured_sizes_those_of_the_specification_serve() -> None:
    assert pick_size([], 50, 50, SCALE) == TargetSize(96, 96, SCALE)


@given(
    st.lists(st.tuples(sides, sides), min_size=1, max_size=8),
    st.integers(1, 10**25),
    st.integers(1, 10**25),
    methods,
    st.booleans(),
)
def test_a_picked_size_is_positive_and_inside_the_largest_sides(
    sizes: list[tuple[int, int]], width: int, height: int, method: Method, dynamic: bool
) -> None:
    picked = pick_size(sizes, width, height, method, dynamic=dynamic)

    assert 1 <= picked.width <= max(w for w, _ in sizes)
    assert 1 <= picked.height <= max(h for _, h in sizes)


@given(sides, sides, sides, sides)
def test_scale_fits_inside_the_box_and_touches_it(
    width: int, height: int, box_width: int, box_height: int
) -> None:
    placing = fit(width, height, TargetSize(box_width, box_height, SCALE))

    assert 1 <= placing.width <= min(width, box_width)
    assert 1 <= placing.height <= min(height, box_height)
    assert placing.box == (0, 0, width, height)
    assert (
        (placing.width, placing.height) == (width, height)
        or placing.width == box_width
        or placing.height == box_height
    )


@given(sides, sides, sides, sides)
def test_scale_keeps_the_aspect_and_drops_fractions_of_pixels(
    width: int, height: int, box_width: int, box_height: int
) -> None:
    placing = fit(width, height, TargetSize(box_width, box_height, SCALE))

    shrink = min(Fraction(1), Fraction(box_width, width), Fraction(box_height, height))
    assert placing.width == max(1, int(width * shrink))
    assert placing.height == max(1, int(height * shrink))


@given(sides, sides, sides, sides)
def test_crop_fills_the_box_unless_the_source_is_smaller(
    width: int, height: int, box_width: int, box_height: int
) -> None:
    placing = fit(width, height, TargetSize(box_width, box_height, CROP))

    if width >= box_width and height >= box_height:
        assert (placing.width, placing.height) == (box_width, box_height)
    assert 1 <= placing.width <= min(width, box_width)
    assert 1 <= placing.height <= min(height, box_height)


@given(sides, sides, sides, sides, methods)
def test_the_shown_part_is_centred_and_never_enlarged(
    width: int, height: int, box_width: int, box_height: int, method: Method
) -> None:
    placing = fit(width, height, TargetSize(box_width, box_height, method))
    left, upper, right, lower = placing.box

    assert left >= 0
    assert upper >= 0
    assert abs(left + right - width) < 0.01
    assert abs(upper + lower - height) < 0.01
    assert right - left >= placing.width - 0.01
    assert lower - upper >= placing.height - 0.01


def test_the_requested_aspect_of_the_source_is_met_exactly() -> None:
    placing = fit(4032, 3024, TargetSize(320, 240, SCALE))

    assert (placing.width, placing.height) == (320, 240)


def test_a_source_fits_when_neither_side_is_larger() -> None:
    info = ImageInfo(320, 240, "image/png")

    assert fits(info, TargetSize(320, 240, CROP))
    assert not fits(info, TargetSize(319, 240, SCALE))
    assert not fits(info, TargetSize(320, 239, SCALE))
