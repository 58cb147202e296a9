"""Holding figures against the targets."""

from __future__ import annotations

from benchmarks import admin, archive_imports, archives
from benchmarks.stats import METRICS
from benchmarks.targets import TARGETS, Target, judge
from benchmarks.thumbnails import rows
from benchmarks.workloads import PEERS

_RATIO = Target("upload-20k", "rate", "synapse", 1.5)
_LIMIT = Target("upload-20k", "stall_ms", None, 50)


def _met(target: Target, measured: float) -> bool:
    peer = target.peer or "synapse"
    figures = {target.metric: measured}
    (verdict,) = judge("upload-20k", figures, {peer: figures}, [target])
    return verdict.met


def test_a_ratio_has_to_reach_its_bound() -> None:
    assert _met(_RATIO, 1.5)
    assert not _met(_RATIO, 1.49)


def test_a_limit_must_not_be_passed() -> None:
    assert _met(_LIMIT, 50)
    assert not _met(_LIMIT, 50.1)


def test_what_was_not_run_is_not_judged() -> None:
    assert judge("upload-20k", {}, {"nginx": {"rate": 1.0}}, [_RATIO, _LIMIT]) == []
    assert judge("upload-1m", {"stall_ms": 1.0}, {}, [_LIMIT]) == []


def test_a_target_counts_for_both_databases_of_a_peer() -> None:
    ratios = {"synapse": {"rate": 1.0}, "synapse-pg": {"rate": 2.0}}

    verdicts = judge("upload-20k", {}, ratios, [_RATIO])

    assert [(verdict.peer, verdict.met) for verdict in verdicts] == [
        ("synapse", False),
        ("synapse-pg", True),
    ]


def test_every_target_names_things_that_exist() -> None:
    keys = {metric.key for metric in METRICS}

    for target in TARGETS:
        assert target.metric in keys
        own = ("whole-1m", "boto3", "one", "no redis", "10k rows")
        assert target.peer in (None, *own, *PEERS[target.workload])


def test_every_target_of_own_tables_names_a_figure() -> None:
    targets = (*archives.TARGETS, *archive_imports.TARGETS, *admin.TARGETS)
    assert {target.metric for target in targets} <= {m.key for m in METRICS}


def test_every_thumbnail_that_is_measured_must_look_as_the_peers_does() -> None:
    wished = {(target.workload, target.metric) for target in rows.TARGETS}

    assert {(row.name, "ssim_lost") for row in rows.ROWS} <= wished
    assert {target.metric for target in rows.TARGETS} <= {m.key for m in METRICS}
    assert {target.peer for target in rows.TARGETS} == {None, rows.PEER}
