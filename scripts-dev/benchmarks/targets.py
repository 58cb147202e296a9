"""The ratios and limits that the project wants to hold (docs/benchmarks.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs


@attrs.frozen
class Target:
    """One wish: a least ratio against a peer, or a most for our own figure.

    Args:
        peer: Whom the ratio is against, on whatever database ("synapse" is also
            "synapse-pg"); None for a limit of our own figure.
    """

    workload: str
    metric: str
    peer: str | None
    bound: float


@attrs.frozen
class Verdict:
    """A target, what was measured, and against whom."""

    target: Target
    measured: float
    peer: str | None

    @property
    def text(self) -> str:
        """The wish in words."""
        if self.peer is None:
            return f"{self.target.metric} at most {self.target.bound:g}"
        bound = f"at least {self.target.bound:g} times as good as {self.peer}"
        return f"{self.target.metric} {bound}"

    @property
    def met(self) -> bool:
        """Whether the wish came true."""
        if self.target.peer is None:
            return self.measured <= self.target.bound
        return self.measured >= self.target.bound


TARGETS = (
    Target("download-20k", "rate", "synapse", 12),
    Target("download-20k", "cpu_ms", "synapse", 12),
    Target("download-20k", "rate", "nginx", 0.1),
    Target("download-20k-304", "rate", "synapse", 10),
    Target("thumbnail-warm", "rate", "synapse", 10),
    Target("thumbnail-cold", "cpu_ms", "synapse", 4),
    Target("upload-20k", "rate", "synapse", 1.5),
    Target("upload-100m", "cpu_ms", "synapse", 2),
    Target("upload-100m", "stall_ms", None, 50),
    Target("upload-100m", "growth_mb", None, 20),
    Target("upload-100m", "answer_ms", None, 1000),
    *(
        target
        for name in ("download-100m", "download-100m-c8")
        for target in (
            Target(name, "mb_s", "synapse", 2),
            Target(name, "mb_s", "nginx", 0.6),
            Target(name, "growth_mb", None, 20),
        )
    ),
    Target("remote", "added_ms", None, 50),
    Target("remote", "growth_mb", None, 20),
    Target("remote", "growth_many_mb", None, 40),
    Target("remote", "origin_requests", None, 1),
    Target("remote", "errors", None, 0),
    Target("s3-download-100m", "mb_s", "boto3", 0.8),
    Target("s3-download-100m", "growth_mb", None, 60),
    Target("s3-upload-100m", "mb_s", "boto3", 0.7),
    Target("s3-upload-100m", "growth_mb", None, 60),
    Target("lookup-10m", "p50_ms", "10k rows", 0.5),
    Target("two-processes", "rate", "one", 1.6),
    Target("two-processes", "errors", None, 0),
    Target("redis-killed", "rate", "no redis", 0.8),
    Target("redis-killed", "errors", None, 0),
    # Equal within what two runs of the same thing differ by.
    Target("range-1m", "cpu_ms", "whole-1m", 0.95),
)


def judge(
    workload: str,
    ours: Mapping[str, float],
    ratios: Mapping[str, Mapping[str, float]],
    targets: Sequence[Target] = TARGETS,
) -> list[Verdict]:
    """Hold the figures of a workload against its targets; leave out what wasn't run."""
    verdicts = []
    for target in targets:
        if target.workload != workload:
            continue
        if target.peer is None:
            against: list[tuple[str | None, Mapping[str, float]]] = [(None, ours)]
        else:
            against = [
                (label, figures)
                for label, figures in ratios.items()
                if label in (target.peer, f"{target.peer}-pg")
            ]
        for peer, figures in against:
            if target.metric in figures:
                verdicts.append(Verdict(target, figures[target.metric], peer))
    return verdicts
