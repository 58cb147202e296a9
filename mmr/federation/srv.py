"""The order in which SRV targets are tried (RFC 2782)."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import groupby

from mmr.http.guard.resolver import SrvTarget


def in_order(targets: Iterable[SrvTarget], rng: random.Random) -> list[SrvTarget]:
    """All targets: lowest priority value first, weighted chance within one priority.

    Args:
        targets: As looked up.
        rng: The chance.
    """
    by_priority = sorted(targets, key=lambda target: target.priority)
    ordered: list[SrvTarget] = []
    for _, group in groupby(by_priority, key=lambda target: target.priority):
        ordered += _drawn(list(group), rng)
    return ordered


def _drawn(targets: list[SrvTarget], rng: random.Random) -> list[SrvTarget]:
    # Targets without weight come last: those with weight share the load.
    weighted = [target for target in targets if target.weight > 0]
    rest = [target for target in targets if target.weight <= 0]
    rng.shuffle(rest)
    drawn = []
    while weighted:
        [chosen] = rng.choices(weighted, [target.weight for target in weighted])
        weighted.remove(chosen)
        drawn.append(chosen)
    return drawn + rest
