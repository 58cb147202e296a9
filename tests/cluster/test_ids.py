"""Ids are in MMR's form and never repeat."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted.internet.task import Clock as FakeReactor

from mmr.cluster.ids import IdGenerator
from mmr.types import is_valid_media_id
from mmr.util.clock import Clock

EPOCH_MS = 1_288_834_974_657


class WallClock(Clock):
    """A wall clock that goes wherever the test puts it."""

    def __init__(self, now_ms: int = EPOCH_MS + 1_000) -> None:
        super().__init__(FakeReactor())
        self.now_ms = now_ms

    def time_ms(self) -> int:
        return self.now_ms


def snowflake(unique_id: str) -> tuple[int, int, int]:
    """Milliseconds, machine and sequence of an id."""
    number = int(unique_id[40:])
    return number >> 22, number >> 12 & 0x3FF, number & 0xFFF


def test_an_id_has_mmrs_form() -> None:
    unique_id = IdGenerator(517, WallClock(EPOCH_MS + 123_456)).unique_id()
    assert re.fullmatch("[0-9a-f]{40}[0-9]+", unique_id)
    assert is_valid_media_id(unique_id)
    assert snowflake(unique_id) == (123_456, 517, 0)


def test_an_object_name_says_how_it_was_made() -> None:
    name = IdGenerator(0, WallClock()).object_name()
    assert re.fullmatch("[0-9a-f]{40}[0-9]+idv2fmt", name)


def test_the_random_part_does_not_repeat_after_a_restart() -> None:
    """R100: a new process whose clock is back still gives new names."""
    names = {IdGenerator(0, WallClock()).unique_id() for _ in range(100)}
    assert len(names) == 100


@given(st.lists(st.integers(0, 2**41 + 5), min_size=1, max_size=300))
def test_a_clock_that_jumps_repeats_no_number(times: list[int]) -> None:
    """R100: back a day, ahead a year, before the epoch, standing still."""
    clock = WallClock()
    ids = IdGenerator(3, clock)
    numbers = []
    for now_ms in times:
        clock.now_ms = now_ms
        numbers.append(snowflake(ids.unique_id()))
    assert len(set(numbers)) == len(numbers)
    assert numbers == sorted(numbers)


def test_more_ids_than_a_millisecond_holds() -> None:
    ids = IdGenerator(0, WallClock(EPOCH_MS + 7))
    numbers = [snowflake(ids.unique_id()) for _ in range(4097)]
    assert numbers[4095] == (7, 0, 4095)
    assert numbers[4096] == (8, 0, 0)


def test_the_clock_takes_over_again_when_it_has_caught_up() -> None:
    clock = WallClock(EPOCH_MS + 50)
    ids = IdGenerator(0, clock)
    ids.unique_id()
    clock.now_ms = EPOCH_MS
    assert snowflake(ids.unique_id()) == (50, 0, 1)
    clock.now_ms = EPOCH_MS + 60
    assert snowflake(ids.unique_id()) == (60, 0, 0)


@pytest.mark.parametrize("machine_id", [-1, 1024])
def test_machine_ids_out_of_range_are_refused(machine_id: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.1023"):
        IdGenerator(machine_id, WallClock())
