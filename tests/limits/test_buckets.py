"""Buckets drain all the time, and who waits as told gets in (R78, R79)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.internet.task import Clock as FakeReactor

from mmr.limits.buckets import LeakyBuckets, Shape
from mmr.util.clock import Clock

SHAPE = Shape(capacity=100, drain_per_s=10, overflow=20)


def buckets(
    shape: Shape = SHAPE, max_subjects: int = 1000
) -> tuple[LeakyBuckets, FakeReactor]:
    reactor = FakeReactor()
    return LeakyBuckets(shape, Clock(reactor), max_subjects), reactor


def test_it_drains_continuously() -> None:
    each, reactor = buckets()
    each.add("a", 50)
    reactor.advance(0.5)
    assert each.level("a") == 45
    reactor.advance(100)
    assert each.level("a") == 0


def test_one_charge_may_pass_the_capacity_a_little() -> None:
    each, _ = buckets()
    each.add("a", 90)
    assert each.wait_s("a", 30) == 0
    assert each.wait_s("a", 31) == 0.1
    each.add("a", 30)
    assert each.wait_s("a", 0) == 2


def test_what_is_larger_than_the_bucket_fits_into_an_empty_one() -> None:
    each, _ = buckets()
    assert each.wait_s("a", 10_000) == 0
    each.add("a", 1)
    assert each.wait_s("a", 10_000) == 0.1


def test_what_is_given_back_is_free_again() -> None:
    each, _ = buckets()
    each.add("a", 100)
    each.add("a", -60)
    assert each.level("a") == 40
    each.add("a", -60)
    assert each.level("a") == 0


def test_subjects_are_bounded_and_the_oldest_goes_first() -> None:
    """R79."""
    each, _ = buckets(max_subjects=10)
    for number in range(100_000):
        each.add(str(number), 1)
    assert len(each) == 10
    assert each.level("99999") == 1


def test_what_is_to_be_shared_is_bounded_too() -> None:
    each, _ = buckets(max_subjects=10)
    each.is_shared = True
    for number in range(1000):
        each.add(str(number), 1)
    assert len(each.take_unshared(1000)) == 10


def test_a_learned_level_keeps_what_is_not_shared_yet() -> None:
    each, _ = buckets()
    each.is_shared = True
    each.add("a", 10)
    assert each.take_unshared(5) == {"a": 10}
    each.add("a", 3)
    each.learn("a", 40)
    assert each.level("a") == 43


def test_a_new_shape_counts_for_buckets_that_exist() -> None:
    each, reactor = buckets()
    each.add("a", 100)
    each.shape = Shape(capacity=200, drain_per_s=50)
    assert each.wait_s("a", 100) == 0
    reactor.advance(1)
    assert each.level("a") == 50


@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 300)), max_size=20),
    st.floats(0, 1000),
)
def test_who_waits_as_told_gets_in(
    past: list[tuple[float, float]], wanted: float
) -> None:
    """R78."""
    each, reactor = buckets()
    for pause, amount in past:
        reactor.advance(pause)
        if each.wait_s("a", amount) == 0:
            each.add("a", amount)
    reactor.advance(each.wait_s("a", wanted) + 1e-6)
    assert each.wait_s("a", wanted) == 0
