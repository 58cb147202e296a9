"""Shows the rows, one a line."""

from __future__ import annotations

from benchmarks.runner import OURS, Result
from benchmarks.thumbnails.rows import NAME, PEER

_NAME_WIDTH = 32


def heading() -> str:
    """The line above the rows."""
    return f"{NAME}: CPU ms a thumbnail, the worker's included; SSIM beside {PEER}'s"


def line(result: Result) -> str:
    """A row: its figures, and whether each wish came true."""
    name = result.workload.removeprefix(f"{NAME}/")
    return f"{name:{_NAME_WIDTH}} {'  '.join(_cells(result))}{_verdicts(result)}"


def _cells(result: Result) -> list[str]:
    ours = result.figures[OURS]
    cells = []
    if "cpu_ms" in ours:
        cells.append(f"{ours['cpu_ms']:8.1f} ms")
    if PEER in result.figures:
        theirs = result.figures[PEER]["cpu_ms"]
        ratio = result.ratios[PEER].get("cpu_ms", 0.0)
        cells.append(f"{PEER} {theirs:7.1f} ms  {ratio:5.2f}x")
    if "ssim_lost" in ours:
        cells.append(f"SSIM lost {ours['ssim_lost']:7.4f}")
    if "growth_mb" in ours:
        cells.append(f"{ours['growth_mb']:7.1f} MB above idle")
    if "memory_ratio" in ours:
        cells.append(f"{ours['memory_ratio']:4.2f}x the decoded picture")
    if "frames_mb" in ours:
        cells.append(f"{ours['frames_mb']:+5.1f} MB by frames")
    if "slowdown" in ours:
        cells.append(
            f"p99 {ours['idle_p99_ms']:.2f} ms idle, {ours['busy_p99_ms']:.2f} ms"
            f" busy, {ours['slowdown']:.2f}x"
        )
    return cells


def _verdicts(result: Result) -> str:
    missed = [verdict.text for verdict in result.verdicts if not verdict.met]
    if missed:
        return "".join(f"\n  MISSED {text}" for text in missed)
    return "  met" if result.verdicts else ""
