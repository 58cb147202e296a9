"""Which limits a user has, and what an upload reserves (D52, R81)."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import TestCase

from mmr.config.uploads import UploadsConfig
from mmr.errors import MatrixError
from mmr.limits.quotas import QuotaReservation, UserLimits, limits_for
from mmr.storage.quotas import QuotaLimits, QuotaStore

ALICE = "@alice:example.org"
STEP = 16 * 1024 * 1024


def uploads(*rules: dict[str, Any], enabled: bool = True) -> UploadsConfig:
    return UploadsConfig.model_validate(
        {"maxPending": 7, "quotas": {"enabled": enabled, "users": list(rules)}}
    )


def test_without_rules_only_pending_ids_are_limited() -> None:
    for config in (uploads(), uploads({"glob": "@*", "maxBytes": 1}, enabled=False)):
        limits = limits_for(config, ALICE)
        assert limits == UserLimits(max_pending=7)
        assert not limits.is_limited


def test_the_first_rule_that_fits_counts() -> None:
    config = uploads(
        {"glob": "@bob:*", "maxBytes": 1},
        {"glob": "@a*:example.org", "maxBytes": 2},
        {"glob": "@*", "maxBytes": 3},
    )
    assert limits_for(config, ALICE).storage.max_bytes == 2
    assert limits_for(config, "@zoe:example.org").storage.max_bytes == 3
    assert limits_for(config, "alice").storage.max_bytes == 0


def test_a_glob_fits_the_whole_user_id_and_only_stars_are_special() -> None:
    for glob, fits in (
        ("@alice:example.org", True),
        ("@alice:example", False),
        ("alice:example.org", False),
        ("@alice:example?org", False),
        ("@[a]lice:example.org", False),
        ("@.*:example.org", False),
        ("*", True),
        ("@*:*", True),
        ("@alice:example.org*", True),
    ):
        limits = limits_for(uploads({"glob": glob, "maxFiles": 1}), ALICE)
        assert limits.is_limited is fits, glob


@given(st.text(max_size=30), st.text(max_size=10), st.text(max_size=10))
def test_a_star_stands_for_anything(middle: str, start: str, end: str) -> None:
    glob = start.replace("*", "") + "*" + end.replace("*", "")
    user = start.replace("*", "") + middle + end.replace("*", "")
    assert limits_for(uploads({"glob": glob, "maxFiles": 1}), user).is_limited


def test_a_rule_that_is_silent_on_pending_ids_inherits() -> None:
    """D52."""
    for rule, pending in (({}, 7), ({"maxPending": 2}, 2), ({"maxPending": 0}, None)):
        config = uploads({"glob": "@*", **rule})
        assert limits_for(config, ALICE).max_pending == pending


class Store:
    """Remembers what is reserved, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.calls: list[int] = []
        self.held: dict[str, int] = {}

    async def reserve(self, name: str, user: str, size: int, _: QuotaLimits) -> bool:
        self.calls.append(size)
        if size > self.limit:
            return False
        self.held[name] = size
        return True

    async def release(self, name: str) -> None:
        del self.held[name]


class ReservationTest(TestCase):
    def make(self, limit: int, **limits: int) -> tuple[Store, QuotaReservation]:
        store = Store(limit)
        user_limits = UserLimits(QuotaLimits(**limits))
        return store, QuotaReservation(cast(QuotaStore, store), ALICE, user_limits)

    async def test_without_limits_nothing_is_written(self) -> None:
        store, reservation = self.make(0)
        await reservation.cover(10**9, is_final=True)
        await reservation.release()
        self.assertEqual(store.calls, [])

    async def test_a_declared_size_is_reserved_once(self) -> None:
        store, reservation = self.make(1000, max_bytes=1000)
        await reservation.cover(1000, is_final=True)
        for size in range(0, 1000, 100):
            await reservation.cover(size, is_final=False)
        await reservation.cover(1000, is_final=True)
        self.assertEqual(store.calls, [1000])

    async def test_a_growing_body_reserves_in_steps(self) -> None:
        """R81."""
        store, reservation = self.make(10 * STEP, max_bytes=10 * STEP)
        for size in range(0, 3 * STEP, STEP // 64):
            await reservation.cover(size, is_final=False)
        self.assertLess(len(store.calls), 6)
        self.assertEqual(len(store.held), 1)

    async def test_near_the_limit_it_reserves_what_is_needed(self) -> None:
        store, reservation = self.make(1000, max_bytes=1000)
        await reservation.cover(0, is_final=False)
        await reservation.cover(1000, is_final=False)
        self.assertEqual(list(store.held.values()), [1000])
        with self.assertRaises(MatrixError) as caught:
            await reservation.cover(1001, is_final=False)
        self.assertEqual(caught.exception.status, 403)
        await reservation.release()
        self.assertEqual(store.held, {})

    async def test_releasing_twice_is_once(self) -> None:
        store, reservation = self.make(1000, max_files=1)
        await reservation.cover(1, is_final=True)
        await reservation.release()
        await reservation.release()
        self.assertEqual(store.held, {})
