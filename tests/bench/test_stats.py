"""The arithmetic that turns rounds into the figures people quote."""

from __future__ import annotations

import statistics

import pytest
from benchmarks.stats import METRICS, advantage, medians, percentile, ratios
from hypothesis import given
from hypothesis import strategies as st

_POSITIVE = st.floats(min_value=0.001, max_value=1e6)


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (50, 50), (95, 95), (99, 99), (100, 100)]
)
def test_a_percentile_is_the_nearest_rank(percent: float, expected: int) -> None:
    values = list(range(100, 0, -1))

    assert percentile(values, percent) == expected


def test_the_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 1) == percentile([7.0], 99) == 7.0


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@given(st.lists(_POSITIVE, min_size=1), st.floats(min_value=0, max_value=100))
def test_a_percentile_was_really_seen_and_covers_its_share(
    values: list[float], percent: float
) -> None:
    found = percentile(values, percent)

    assert found in values
    covered = sum(value <= found for value in values)
    assert covered >= percent / 100 * len(values) - 1e-6


def test_medians_leave_out_what_was_not_taken() -> None:
    assert medians({"rate": [3.0, 1.0, 2.0], "stall_ms": []}) == {"rate": 2.0}


def test_a_higher_rate_and_a_lower_latency_are_both_above_one() -> None:
    assert advantage(200, 100, higher_is_better=True) == 2
    assert advantage(5, 10, higher_is_better=False) == 2


def test_nothing_to_divide_by_gives_no_ratio() -> None:
    assert advantage(0.0, 10.0, higher_is_better=False) is None
    assert ratios({"cpu_ms": [0.0]}, {"cpu_ms": [10.0]}) == {}


def test_ratios_are_paired_so_that_slow_phases_cancel_out() -> None:
    ours = {"rate": [100.0, 10.0, 90.0]}
    theirs = {"rate": [50.0, 5.0, 45.0]}

    assert ratios(ours, theirs) == {"rate": 2.0}


def test_one_odd_round_does_not_move_the_ratio() -> None:
    ours = {"cpu_ms": [1.0, 1.0, 40.0]}
    theirs = {"cpu_ms": [4.0, 4.0, 4.0]}

    assert ratios(ours, theirs) == {"cpu_ms": 4.0}


def test_figures_without_a_better_side_get_no_ratio() -> None:
    rounds = {"rss_before_mb": [10.0], "growth_mb": [1.0], "errors": [1.0]}

    assert ratios(rounds, rounds) == {}


@given(st.lists(_POSITIVE, min_size=1, max_size=9))
def test_a_server_beside_itself_has_ratio_one(values: list[float]) -> None:
    rounds = {metric.key: values for metric in METRICS}

    assert all(ratio == 1 for ratio in ratios(rounds, rounds).values())


@given(st.lists(st.tuples(_POSITIVE, _POSITIVE), min_size=1, max_size=9))
def test_the_ratio_of_rates_is_the_median_of_quotients(
    pairs: list[tuple[float, float]],
) -> None:
    ours = {"rate": [mine for mine, _ in pairs]}
    theirs = {"rate": [other for _, other in pairs]}

    expected = statistics.median(mine / other for mine, other in pairs)
    assert ratios(ours, theirs)["rate"] == expected
