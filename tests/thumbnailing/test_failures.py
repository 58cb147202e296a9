"""The memory of sources that failed (R34)."""

from __future__ import annotations

from twisted.internet import task

from mmr.thumbnailing.failures import FailureMemory
from mmr.thumbnailing.model import Refusal
from mmr.util.clock import Clock


def test_a_failure_is_remembered_for_a_while() -> None:
    time = task.Clock()
    memory = FailureMemory(Clock(time), max_age=60)
    memory.remember("bomb", Refusal.BROKEN)

    time.advance(59)
    assert memory.recall("bomb") is Refusal.BROKEN
    assert memory.recall("other") is None
    time.advance(2)
    assert memory.recall("bomb") is None
    assert len(memory) == 0


def test_a_worker_that_took_too_long_gets_another_chance_soon() -> None:
    """It may have been the machine that was overloaded, not the file that is a bomb."""
    time = task.Clock()
    memory = FailureMemory(Clock(time))
    memory.remember("slow", Refusal.CRASHED)
    memory.remember("broken", Refusal.BROKEN)

    time.advance(299)
    assert memory.recall("slow") is Refusal.CRASHED
    time.advance(2)
    assert memory.recall("slow") is None
    assert memory.recall("broken") is Refusal.BROKEN


def test_the_memory_is_bounded_and_forgets_the_least_asked_for() -> None:
    memory = FailureMemory(Clock(task.Clock()), max_entries=3)
    for name in "abc":
        memory.remember(name, Refusal.BROKEN)
    memory.recall("a")
    memory.remember("d", Refusal.TOO_LARGE)

    assert len(memory) == 3
    assert memory.recall("b") is None
    assert memory.recall("a") is Refusal.BROKEN
