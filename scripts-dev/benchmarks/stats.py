"""From rounds to figures: percentiles, medians and paired ratios."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import attrs


@attrs.frozen
class Metric:
    """One figure of the report.

    Args:
        key: Its name in the JSON report.
        label: Its name, with the unit, in the table.
        higher_is_better: Which way a ratio is turned; None when a ratio says nothing.
    """

    key: str
    label: str
    higher_is_better: bool | None


METRICS = (
    Metric("rate", "requests/s", True),
    Metric("before_rate", "requests/s with Redis", None),
    Metric("choice_ms", "choosing a datastore ms", None),
    Metric("gap_ms", "longest without answer ms", None),
    Metric("files_s", "files/s", True),
    Metric("mb_s", "body MB/s", True),
    Metric("media_s", "media/s", None),
    Metric("first_call_ms", "first call ms", None),
    Metric("p50_ms", "p50 ms", False),
    Metric("p95_ms", "p95 ms", False),
    Metric("p99_ms", "p99 ms", False),
    Metric("cpu_ms", "CPU ms/request", False),
    Metric("direct_ms", "first byte, direct ms", None),
    Metric("first_ms", "first byte, by us ms", None),
    Metric("added_ms", "first byte, added ms", None),
    Metric("answer_ms", "last byte to answer ms", False),
    Metric("upload_ms", "upload before it ms", False),
    Metric("stall_ms", "longest stall ms", False),
    Metric("probe_p99_ms", "probe p99 ms", False),
    Metric("rss_before_mb", "RSS before MB", None),
    Metric("rss_after_mb", "RSS after MB", False),
    Metric("rss_peak_mb", "RSS peak MB", False),
    Metric("growth_mb", "peak above idle MB", None),
    Metric("growth_many_mb", "the same, 100 clients", None),
    Metric("decoded_mb", "decoded picture MB", None),
    Metric("memory_ratio", "peak to decoded picture", None),
    Metric("frames_mb", "MB by more frames", None),
    Metric("ssim_lost", "SSIM lost beside naive", None),
    Metric("idle_p99_ms", "p99 while idle ms", None),
    Metric("busy_p99_ms", "p99 while busy ms", None),
    Metric("slowdown", "p99, busy to idle", None),
    Metric("origin_requests", "requests to origin", None),
    Metric("errors", "wrong answers", None),
)

Rounds = Mapping[str, Sequence[float]]


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the nearest-rank percentile: a value that was really seen.

    Raises:
        ValueError: When there are no values.
    """
    if not values:
        raise ValueError("no values to take a percentile of")
    rank = math.ceil(percent / 100 * len(values))
    return sorted(values)[max(rank, 1) - 1]


def medians(rounds: Rounds) -> dict[str, float]:
    """Give the median over the rounds of every metric that was taken."""
    return {key: statistics.median(values) for key, values in rounds.items() if values}


def advantage(ours: float, theirs: float, *, higher_is_better: bool) -> float | None:
    """Say how many times better our figure is; below 1 it is worse.

    None when the worse figure is zero, so that there is nothing to divide by.
    """
    better, worse = (ours, theirs) if higher_is_better else (theirs, ours)
    return better / worse if worse else None


def ratios(ours: Rounds, theirs: Rounds) -> dict[str, float]:
    """Compare round by round and give the median, so that slow phases cancel out."""
    result = {}
    for metric in METRICS:
        turn = metric.higher_is_better
        if turn is None:
            continue
        pairs = zip(ours.get(metric.key, ()), theirs.get(metric.key, ()), strict=False)
        found = [advantage(mine, its, higher_is_better=turn) for mine, its in pairs]
        known = [ratio for ratio in found if ratio is not None]
        if known:
            result[metric.key] = statistics.median(known)
    return result
