"""Servers that fail are left alone; servers that refuse are not."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock as FakeTime

from mmr.federation.back_off import (
    FIRST_INTERVAL_MS,
    LAST_INTERVAL_MS,
    BackOff,
)
from mmr.federation.errors import RemoteFailed
from mmr.util.clock import Clock

from tests.federation.support import MemoryDestinations

_NAME = "remote.example"


class World:
    """One process's back-off; several may share a database."""

    def __init__(
        self, store: MemoryDestinations | None = None, time: FakeTime | None = None
    ) -> None:
        self.time = time or FakeTime()
        self.store = store or MemoryDestinations()
        untyped: Any = self.store
        rng = random.Random(1)
        self.back_off = BackOff(untyped, Clock(self.time), lambda: 3, rng)

    @property
    def is_open(self) -> bool:
        """Whether the server may be asked."""
        failed: list[Any] = []
        work = ensureDeferred(self.back_off.check(_NAME))
        work.addErrback(lambda failure: failed.append(failure.trap(RemoteFailed)))
        return not failed

    def fail(self, times: int = 1, began_ago: float = 0) -> None:
        for _ in range(times):
            began = self.time.seconds() - began_ago
            self.back_off.failed(_NAME, int(began * 1000))

    def interval(self) -> int:
        return self.store.rows[_NAME].retry_interval


def test_so_many_failures_in_a_row_close_it_for_ten_minutes() -> None:
    world = World()
    world.fail(2)
    assert world.is_open
    world.fail()
    assert not world.is_open
    world.time.advance(FIRST_INTERVAL_MS / 1000 - 1)
    assert not world.is_open
    world.time.advance(1)
    assert world.is_open


def test_a_success_in_between_begins_anew() -> None:
    world = World()
    for _ in range(5):
        world.fail(2)
        world.back_off.succeeded(_NAME)
    assert world.is_open
    assert world.store.rows == {}


def test_each_further_failure_about_doubles_the_wait_up_to_a_week() -> None:
    world = World()
    world.fail(3)
    began = world.store.rows[_NAME].failure_ts
    waits = [world.interval()]
    for _ in range(20):
        world.time.advance(world.interval() / 1000)
        assert world.is_open
        world.fail()
        assert not world.is_open
        waits.append(world.interval())
    for one, next_one in pairwise(waits):
        assert next_one == LAST_INTERVAL_MS or 1.5 < next_one / one < 3
    assert waits[-1] == LAST_INTERVAL_MS
    assert world.store.rows[_NAME].failure_ts == began


def test_failures_that_were_under_way_together_count_once() -> None:
    world = World()
    world.fail(3)
    world.time.advance(10)
    world.fail(5, began_ago=10)
    assert world.interval() == FIRST_INTERVAL_MS


def test_a_failure_that_took_minutes_still_lengthens_the_wait() -> None:
    """What was known of the server has left the memory meanwhile."""
    world = World()
    world.fail(3)
    world.time.advance(FIRST_INTERVAL_MS / 1000 + 120)
    world.fail(began_ago=110)
    assert world.interval() > FIRST_INTERVAL_MS


def test_it_holds_for_other_processes_and_over_restarts() -> None:
    world = World()
    world.fail(3)
    other = World(world.store, world.time)
    assert not other.is_open
    world.time.advance(FIRST_INTERVAL_MS / 1000)
    world.back_off.succeeded(_NAME)
    assert world.store.rows == {}
    other.time.advance(61)
    assert other.is_open


def test_a_healthy_server_costs_one_query_a_minute() -> None:
    world = World()
    for _ in range(100):
        assert world.is_open
        world.back_off.succeeded(_NAME)
    assert world.store.reads == 1


@pytest.mark.parametrize("answers", [True, False])
def test_a_signed_request_from_the_server_ends_the_wait(answers: bool) -> None:
    world = World()
    world.fail(3)
    if answers:
        world.back_off.succeeded(_NAME)
    assert world.is_open is answers
