"""The order of SRV targets."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mmr.federation.srv import in_order
from mmr.http.guard.resolver import SrvTarget

_TARGETS = st.lists(
    st.builds(
        SrvTarget,
        priority=st.integers(0, 3),
        weight=st.integers(0, 3),
        port=st.just(8448),
        host=st.sampled_from("abc"),
    )
)


@given(_TARGETS)
def test_each_target_once_and_by_priority(targets: list[SrvTarget]) -> None:
    ordered = in_order(targets, random.Random(1))
    assert sorted(ordered) == sorted(targets)
    assert [t.priority for t in ordered] == sorted(t.priority for t in targets)


def test_weight_decides_how_often_one_comes_first() -> None:
    rng = random.Random(1)
    light, heavy = SrvTarget(1, 1, 8448, "light"), SrvTarget(1, 9, 8448, "heavy")
    idle = SrvTarget(1, 0, 8448, "idle")
    first: Counter[str] = Counter()
    for _ in range(1000):
        ordered = in_order([idle, light, heavy], rng)
        first[ordered[0].host] += 1
        assert ordered[2] == idle
    assert 850 < first["heavy"] < 950
