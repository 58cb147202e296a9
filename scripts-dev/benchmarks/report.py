"""Shows results as tables for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence

from benchmarks.runner import OURS, Result
from benchmarks.stats import METRICS

_LABEL_WIDTH = 24
_COLUMN_WIDTH = 11


def table(result: Result) -> str:
    """Lay out one workload: our figures, and each peer's with the ratio."""
    peers = list(result.ratios)
    header = f"{'':{_LABEL_WIDTH}}{OURS:>{_COLUMN_WIDTH}}" + "".join(
        f"{peer:>{_COLUMN_WIDTH}}{'ratio':>{_COLUMN_WIDTH}}" for peer in peers
    )
    title = (
        f"{result.workload}  (median of rounds; other programs kept "
        f"{result.foreign_cores:.2f} cores busy; ratio above 1: mmr is better)"
    )
    lines = [title, header]
    for metric in METRICS:
        own = result.figures[OURS].get(metric.key)
        if own is None:
            continue
        cells = [f"{metric.label:{_LABEL_WIDTH}}", _number(own)]
        for peer in peers:
            cells.append(_number(result.figures[peer].get(metric.key)))
            cells.append(_number(result.ratios[peer].get(metric.key)))
        lines.append("".join(cells).rstrip())
    for verdict in result.verdicts:
        word = "met   " if verdict.met else "MISSED"
        lines.append(f"  {word} {verdict.text}: {verdict.measured:.3g}")
    return "\n".join(lines) + "\n"


def as_json(results: Sequence[Result], rounds: int, seconds: float) -> str:
    """Give everything that was measured, each round included."""
    document = {
        "machine": {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "rounds": rounds,
        "seconds": seconds,
        "workloads": {result.workload: _plain(result) for result in results},
    }
    return json.dumps(document, indent=2)


def _plain(result: Result) -> dict[str, object]:
    return {
        "foreign_cores": result.foreign_cores,
        "medians": result.figures,
        "ratios": result.ratios,
        "rounds": result.rounds,
        "targets": [
            {
                "text": verdict.text,
                "measured": verdict.measured,
                "met": verdict.met,
            }
            for verdict in result.verdicts
        ],
    }


def _number(value: float | None) -> str:
    if value is None:
        return " " * _COLUMN_WIDTH
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
    return f"{value:>{_COLUMN_WIDTH},.{digits}f}"
