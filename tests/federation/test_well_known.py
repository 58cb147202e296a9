"""How long delegations are believed."""

from __future__ import annotations

import email.utils
import random
from typing import Any

import pytest

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock as FakeTime

from mmr.federation.switches import Switches
from mmr.federation.well_known import WellKnown, WellKnowns
from mmr.http.guard import FetchFailed, Step
from mmr.util.clock import Clock

from tests.federation.fakes import FakeWeb

_MINUTE, _HOUR = 60, 3600
_URL = "https://a.example/.well-known/matrix/server"
_GOOD = b'{"m.server": "b.example:1"}'
_DOWN = FetchFailed(Step.CONNECT, "refused")


class World:
    """One server and its delegation."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.web = FakeWeb()
        web: Any = self.web
        rng = random.Random(1)
        self.known = WellKnowns(web, Clock(self.time), Switches(), rng)

    def get(self) -> WellKnown:
        found: list[WellKnown] = []
        ensureDeferred(self.known.get("A.example")).addCallback(found.append)
        return found[0]

    def lifetime(self) -> float:
        """Seconds until the server is asked again."""
        self.get()
        asked = len(self.web.asked)
        for seconds in range(0, 50 * _HOUR, _MINUTE):
            self.get()
            if len(self.web.asked) > asked:
                return seconds
            self.time.advance(_MINUTE)
        raise AssertionError("never")


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({}, 21 * _HOUR, 24 * _HOUR),
        ({"cache_control": "public, max-age=7200"}, 2 * _HOUR, 2 * _HOUR),
        ({"cache_control": "max-age=1"}, 5 * _MINUTE, 5 * _MINUTE),
        ({"cache_control": "max-age=99999999"}, 48 * _HOUR, 48 * _HOUR),
        ({"cache_control": "no-store"}, 5 * _MINUTE, 5 * _MINUTE),
        ({"expires": email.utils.formatdate(3 * _HOUR)}, 3 * _HOUR, 3 * _HOUR),
        ({"expires": "0"}, 5 * _MINUTE, 5 * _MINUTE),
    ],
)
def test_an_answer_is_kept_as_it_says_within_bounds(
    headers: dict[str, str], least: float, most: float
) -> None:
    world = World()
    world.web.delegate("a.example", _GOOD, **headers)
    assert least <= world.lifetime() <= most + _MINUTE
    assert world.get().delegate == "b.example:1"


def test_failures_are_kept_longer_each_time_up_to_an_hour() -> None:
    world = World()
    world.web.pages[_URL] = _DOWN
    lifetimes = [world.lifetime() for _ in range(6)]
    for lifetime, most in zip(lifetimes, (5, 10, 20, 40, 60, 60), strict=True):
        assert 0.85 * most * _MINUTE <= lifetime <= (most + 1) * _MINUTE


def test_a_server_in_trouble_keeps_its_delegation_for_a_while() -> None:
    world = World()
    world.web.delegate("a.example", _GOOD, cache_control="max-age=3600")
    world.get()
    world.web.pages[_URL] = _DOWN
    world.time.advance(_HOUR + 1)
    assert world.get().delegate == "b.example:1"
    assert world.lifetime() <= 3 * _MINUTE
    world.time.advance(2 * _HOUR)
    assert world.get().delegate is None


def test_a_server_that_delegates_no_more_is_believed_at_once() -> None:
    world = World()
    world.web.delegate("a.example", _GOOD, cache_control="max-age=3600")
    world.get()
    world.web.pages[_URL] = (404, b"", {})
    world.time.advance(_HOUR + 1)
    assert world.get().delegate is None
