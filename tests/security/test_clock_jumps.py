"""A wall clock that jumps back a day, or ahead a year and back (R100).

Time-outs, rates and what is remembered for a while go by the monotonic clock: what is
over stays over, and what holds goes on to hold for as long as it was to. How ids are
made is in `tests.cluster.test_ids`; runs that remove by age are in
`tests.media.test_expiry`, `tests.tasks.test_expiry` and, the sweep,
`tests.media.test_interleavings`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeReactor

import mmr
from mmr.auth.breaker import Breaker, BreakerOpen
from mmr.auth.identity import Identity, Verdict
from mmr.auth.lookup_limit import LookupLimit
from mmr.auth.tokens import TokenCache
from mmr.config.downloads import DownloadsConfig
from mmr.crypto.key_fetchers import KeysUnavailable
from mmr.crypto.key_ring import KeyRing
from mmr.errors import MatrixError, not_found
from mmr.federation.back_off import FIRST_INTERVAL_MS, BackOff
from mmr.federation.errors import RemoteFailed
from mmr.federation.expiring import Expiring
from mmr.http.client import UpstreamUnavailable
from mmr.limits.buckets import LeakyBuckets, Shape
from mmr.media import patience
from mmr.media.failures import RemoteFailures
from mmr.media.preview_failures import PreviewFailures
from mmr.media.preview_fetch import Cause
from mmr.storage.previews import PreviewKey
from mmr.thumbnailing.failures import FailureMemory
from mmr.thumbnailing.model import Refusal
from mmr.types import Mxc
from mmr.util.clock import Clock

from tests.crypto.documents import FakeSource, document
from tests.crypto.vectors import MMR
from tests.federation.support import MemoryDestinations
from tests.harness import HOST, ServerCase

DAY_MS = 24 * 3600 * 1000
JUMPS_MS = (-DAY_MS, 365 * DAY_MS)
_NOW_MS = 1_795_000_000_000
_MXC = Mxc("remote.example", "abc")
_NAME = "remote.example"


class JumpingClock(Clock):
    """Its wall clock is put wherever the test wants it.

    Attributes:
        passed: Moves the monotonic clock.
        ahead_ms: How wrong the wall clock is.
    """

    def __init__(self) -> None:
        reactor = FakeReactor()
        super().__init__(reactor)
        self.passed = reactor.advance
        self.ahead_ms = 0

    def time_ms(self) -> int:
        return _NOW_MS + int(self.monotonic() * 1000) + self.ahead_ms


Holds = Callable[[], bool]


def done(work: Any) -> list[Any]:
    """What came of a coroutine that doesn't wait: a result, or a failure."""
    outcome: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(outcome.append)
    assert outcome
    return outcome


def a_token(clock: Clock) -> tuple[float, Holds]:
    cache, key = TokenCache(clock), TokenCache.key(HOST, "token", None)

    async def whoami() -> Verdict:
        return Identity("@ann:" + HOST)

    done(cache.ask(key, None, 60, whoami))
    return 60, lambda: cache.get(key) is not None


def a_full_bucket(clock: Clock) -> tuple[float, Holds]:
    buckets = LeakyBuckets(Shape(capacity=10, drain_per_s=1), clock)
    buckets.add("somebody", 10)
    return 10, lambda: buckets.wait_s("somebody", 10) > 0


def an_open_breaker(clock: Clock) -> tuple[float, Holds]:
    breaker = Breaker(1, clock)

    async def fail() -> None:
        raise UpstreamUnavailable("down")

    done(breaker.call(fail))
    # Somewhere between a quarter and three quarters of a second.
    return 0.75, lambda: bool(done(breaker.call(fail))[0].check(BreakerOpen))


def a_spent_lookup_limit(clock: Clock) -> tuple[float, Holds]:
    limit = LookupLimit(clock)
    for _ in range(20):
        limit.spend("192.0.2.1")

    def holds() -> bool:
        try:
            limit.spend("192.0.2.1")
        except MatrixError:
            return True
        return False

    return 60, holds


def a_failed_fetch(clock: Clock) -> tuple[float, Holds]:
    failures = RemoteFailures(clock)
    settings = DownloadsConfig.model_validate({"failureCacheMinutes": 5})
    failures.remember(_MXC, not_found(), settings)

    def holds() -> bool:
        try:
            failures.check(_MXC)
        except MatrixError:
            return True
        return False

    return 300, holds


def a_failed_preview(clock: Clock) -> tuple[float, Holds]:
    failures, key = PreviewFailures(clock), PreviewKey(HOST, "http://a.example/", "en")
    failures.remember(key, Cause.PASSING)
    return 60, lambda: key in failures


def a_bomb(clock: Clock) -> tuple[float, Holds]:
    memory = FailureMemory(clock)
    memory.remember("bomb", Refusal.TOO_LARGE)
    return 3600.001, lambda: memory.recall("bomb") is not None


def an_entry_of_discovery(clock: Clock) -> tuple[float, Holds]:
    entries: Expiring[str, int] = Expiring(clock, 10)
    entries.put("a", 1, 60)
    return 60, lambda: entries.get("a") is not None


def a_key_of_a_server(clock: Clock) -> tuple[float, Holds]:
    source = FakeSource()
    until = clock.time_ms() + 3600 * 1000
    source.published[HOST] = document(HOST, MMR, valid_until=until)
    ring = KeyRing(lambda: [source], clock, set)
    assert done(ring.verify_key(HOST, MMR.key_id)) == [MMR.verify_key]
    source.published.clear()

    def holds() -> bool:
        [found] = done(ring.verify_key(HOST, MMR.key_id))
        return not (hasattr(found, "check") and found.check(KeysUnavailable))

    return 3600, holds


REMEMBERED = (
    a_token,
    a_full_bucket,
    an_open_breaker,
    a_spent_lookup_limit,
    a_failed_fetch,
    a_failed_preview,
    a_bomb,
    an_entry_of_discovery,
    a_key_of_a_server,
)


@pytest.mark.parametrize("jump_ms", JUMPS_MS)
@pytest.mark.parametrize("make", REMEMBERED, ids=lambda make: make.__name__)
def test_what_is_remembered_for_a_while(
    make: Callable[[Clock], tuple[float, Holds]], jump_ms: int
) -> None:
    """It holds through the jump, ends in its time, and isn't revived."""
    clock = JumpingClock()
    seconds, holds = make(clock)
    assert holds()
    clock.ahead_ms = jump_ms
    assert holds()
    clock.passed(seconds / 10)
    assert holds()
    clock.passed(seconds)
    assert not holds()
    clock.ahead_ms = 0
    clock.passed(0)
    if make is not an_open_breaker:  # It has just failed again.
        assert not holds()


@pytest.mark.parametrize("jump_ms", JUMPS_MS)
def test_a_server_in_back_off_is_not_left_alone_for_a_year(jump_ms: int) -> None:
    """Its wait is in the database, by the wall clock."""
    clock, store = JumpingClock(), MemoryDestinations()
    untyped: Any = store

    def is_open() -> bool:
        # As another process, or this one after a restart: nothing is remembered.
        back_off = BackOff(untyped, clock, lambda: 1, random.Random(1))
        [found] = done(back_off.check(_NAME))
        return not (found is not None and found.check(RemoteFailed))

    clock.ahead_ms = max(0, jump_ms)
    back_off = BackOff(untyped, clock, lambda: 1, random.Random(1))
    back_off.failed(_NAME, clock.time_ms())
    assert not is_open()
    clock.ahead_ms = min(0, jump_ms)
    assert is_open()
    clock.ahead_ms = max(0, jump_ms)
    clock.passed(FIRST_INTERVAL_MS / 1000)
    assert is_open()


class PendingIds(ServerCase):
    """What was reserved and has expired is over, whatever the clock says then."""

    def jump(self, milliseconds: int) -> None:
        now = type(self.server.clock).time_ms
        clock = self.server.clock
        self.patch(clock, "time_ms", lambda: now(clock) + milliseconds)

    async def test_one_that_was_asked_for_too_late(self) -> None:
        media_id = await self.create()
        self.jump(8 * DAY_MS)
        self.assertEqual((await self.put(media_id, b"x")).status, 404)
        self.jump(0)
        self.assertEqual((await self.put(media_id, b"x")).status, 404)

    async def test_one_that_nobody_asked_for(self) -> None:
        media_id = await self.create()
        self.jump(8 * DAY_MS)
        await self.server.pending_expiry.expire()
        self.jump(-DAY_MS)
        self.assertEqual((await self.put(media_id, b"x")).status, 404)

    async def test_an_upload_that_began_in_time_is_taken(self) -> None:
        media_id = await self.create()
        wire = await self.wire()
        path = f"/_matrix/media/v3/upload/{HOST}/{media_id}"
        wire.send(self.head("PUT", path, "Content-Length: 300000") + bytes(299_999))
        await self.eventually(lambda: bool(self.files()))

        def expire_txn(txn: Any) -> None:
            now = self.server.clock.time_ms()
            txn.execute("UPDATE expiring_media SET expires_ts = ?", (now - 1000,))

        await self.server.db.interaction("expire", expire_txn)
        await self.server.pending_expiry.expire()
        wire.send(b"x")
        self.assertEqual((await wire.answer()).status, 200)
        self.assertEqual((await self.download(media_id)).status, 200)

    async def test_an_unusual_number_waits(self) -> None:
        """Nearly all at once: the clock is ahead, perhaps."""
        self.patch(patience, "UNUSUAL_COUNT", 4)
        ids = [await self.create() for _ in range(5)]
        self.jump(365 * DAY_MS)
        with self.assertLogs("mmr.media.patience", "WARNING"):
            await self.server.pending_expiry.expire()
        self.jump(0)
        for number, media_id in enumerate(ids):
            answer = await self.put(media_id, b"%d" % number)
            self.assertEqual(answer.status, 200)


def test_rates_and_time_outs_do_not_read_the_wall_clock() -> None:
    """Who has a reason to says here which."""
    reasons = {
        "cluster/ids.py": "the form of ids; guarded against jumps",
        "federation/back_off.py": "kept in the database, over restarts",
        "federation/client.py": "when a request began, for the above",
        "federation/well_known.py": "Expires headers are dates",
        "http/access_log.py": "lines have times",
        "http/fixed_headers.py": "Date",
        "http/probe.py": "another server's clock is looked at",
    }
    rooms = (
        "limits",
        "auth",
        "cache",
        "thumbnailing",
        "previews",
        "http",
        "cluster",
        "plugins",
        "federation",
    )
    root = Path(mmr.__file__).parent
    reading = {
        str(path.relative_to(root))
        for room in rooms
        for path in (root / room).rglob("*.py")
        if re.search(r"time_ms\(|time\.time\b|datetime\.now", path.read_text())
    }
    assert reading - set(reasons) == set()
