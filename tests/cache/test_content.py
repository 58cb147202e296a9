"""The in-process content cache keeps MMR 1.2's rules (mmr-config §5)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeReactor
from twisted.trial.unittest import SynchronousTestCase

from mmr.cache.content import (
    SWEEP_SECONDS,
    ContentCache,
    InProcessContentCache,
    NoContentCache,
)
from mmr.cache.download_counts import MAX_COUNTERS, DownloadCounts
from mmr.config.downloads import CacheConfig
from mmr.util.clock import Clock

RULES = {
    "maxSizeBytes": 100,
    "maxFileSizeBytes": 60,
    "trackedMinutes": 30,
    "minDownloads": 2,
    "minCacheTimeSeconds": 300,
    "minEvictedTimeSeconds": 60,
}


class ContentCacheCase(SynchronousTestCase):
    """A cache of 100 bytes that two downloads lead into."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.evicted: list[str] = []
        config = CacheConfig.model_validate(RULES)
        self.cache = InProcessContentCache(
            config, Clock(self.reactor), self.evicted.append
        )

    def download(self, name: str, times: int = 1) -> None:
        for _ in range(times):
            self.cache.note_download(name)

    def enter(self, name: str, size: int, downloads: int = 2) -> bool:
        self.download(name, downloads)
        return self.cache.put(name, b"x" * size)

    def holds(self, *names: str) -> None:
        self.assertEqual(
            [name for name in "abcdefg" if self.cache.get(name) is not None],
            list(names),
        )


class EnteringTests(ContentCacheCase):
    """What gets in."""

    def test_content_enters_after_enough_downloads(self) -> None:
        self.download("a")
        self.assertFalse(self.cache.wants("a", 10))
        self.download("a")
        self.assertTrue(self.cache.wants("a", 10))
        self.assertTrue(self.cache.put("a", b"0123456789"))
        self.assertEqual(self.cache.get("a"), b"0123456789")
        self.assertEqual((len(self.cache), self.cache.size_bytes), (1, 10))

    def test_content_that_is_there_is_not_wanted(self) -> None:
        self.enter("a", 10)
        self.assertFalse(self.cache.wants("a", 10))
        self.assertFalse(self.cache.put("a", b"x" * 10))
        self.assertEqual(self.cache.size_bytes, 10)

    def test_large_files_never_enter(self) -> None:
        self.assertTrue(self.enter("a", 60))
        self.assertFalse(self.enter("b", 61))

    def test_downloads_from_before_the_window_do_not_count(self) -> None:
        self.download("a")
        self.reactor.advance(29 * 60)
        self.download("a")
        self.assertTrue(self.cache.wants("a", 10))
        self.reactor.advance(120)
        self.assertFalse(self.cache.wants("a", 10))


class LeavingTests(ContentCacheCase):
    """What gets out, and for how long."""

    def test_content_without_enough_downloads_leaves_when_asked_for(self) -> None:
        self.enter("a", 10)
        self.reactor.advance(31 * 60)
        self.assertIsNone(self.cache.get("a"))
        self.assertEqual(self.evicted, ["not_enough_downloads"])
        self.assertEqual((len(self.cache), self.cache.size_bytes), (0, 0))

    def test_what_left_stays_out_for_its_time(self) -> None:
        self.enter("a", 10)
        self.reactor.advance(31 * 60)
        self.cache.get("a")
        self.download("a", 5)
        self.assertFalse(self.cache.wants("a", 10))
        self.reactor.advance(60)
        self.assertTrue(self.cache.wants("a", 10))

    def test_what_was_purged_leaves_and_may_come_back_at_once(self) -> None:
        for name in "abc":
            self.enter(name, 10)
        self.successResultOf(Deferred.fromCoroutine(self.cache.drop(["a", "x"])))
        self.cache.drop_here("b")
        self.holds("c")
        self.assertEqual(self.cache.size_bytes, 10)
        self.assertTrue(self.cache.put("a", b"x" * 10))
        self.assertEqual(self.evicted, [])

    def test_new_content_is_not_evicted(self) -> None:
        self.enter("a", 50)
        self.enter("b", 50)
        self.reactor.advance(299)
        self.assertFalse(self.enter("c", 50, downloads=9))
        self.holds("a", "b")
        self.reactor.advance(1)
        self.assertTrue(self.enter("c", 50))
        self.assertEqual(self.evicted, ["need_space"])

    def test_the_least_downloaded_and_smallest_go_first(self) -> None:
        for name, size, downloads in (("a", 30, 4), ("b", 30, 3), ("c", 40, 3)):
            self.enter(name, size, downloads)
        self.reactor.advance(300)
        self.assertTrue(self.enter("d", 30, downloads=5))
        self.holds("a", "c", "d")
        self.assertTrue(self.enter("e", 35, downloads=6))
        self.holds("a", "d", "e")

    def test_content_as_popular_is_not_evicted(self) -> None:
        self.enter("a", 60, downloads=3)
        self.reactor.advance(300)
        self.assertFalse(self.enter("b", 60, downloads=3))
        self.download("b")
        self.assertTrue(self.cache.put("b", b"x" * 60))
        self.holds("b")

    def test_much_larger_content_is_not_evicted(self) -> None:
        self.enter("a", 50)
        self.enter("b", 50)
        self.reactor.advance(300)
        self.assertFalse(self.enter("c", 39, downloads=9))
        self.assertTrue(self.enter("d", 41, downloads=9))

    def test_nothing_is_evicted_in_vain(self) -> None:
        self.enter("a", 20)
        self.enter("b", 60, downloads=9)
        self.reactor.advance(300)
        self.assertFalse(self.enter("c", 50, downloads=5))
        self.holds("a", "b")

    def test_the_sweep_evicts_what_has_stayed_its_time(self) -> None:
        self.enter("a", 10, downloads=9)
        self.reactor.advance(10)
        self.enter("b", 10)
        self.reactor.advance(SWEEP_SECONDS - 10)
        self.cache.sweep()
        self.holds("b")
        self.assertEqual(self.evicted, ["need_space"])
        self.reactor.advance(60)
        self.assertTrue(self.cache.wants("a", 10))


class RemovalTests(ContentCacheCase):
    """R84: quarantine reaches the cache."""

    def test_removed_content_is_gone_at_once(self) -> None:
        self.enter("a", 10)
        self.successResultOf(self.cache.remove("a"))
        self.assertIsNone(self.cache.get("a"))
        self.assertEqual(self.cache.size_bytes, 0)

    def test_a_reader_under_way_does_not_put_it_back(self) -> None:
        self.download("a", 5)
        self.assertTrue(self.cache.wants("a", 10))
        self.successResultOf(self.cache.remove("a"))
        self.assertFalse(self.cache.put("a", b"x" * 10))
        self.reactor.advance(60)
        self.assertTrue(self.cache.put("a", b"x" * 10))

    def test_clear_leaves_nothing(self) -> None:
        self.enter("a", 10)
        self.successResultOf(self.cache.clear())
        self.assertEqual((len(self.cache), self.cache.size_bytes), (0, 0))


class DisabledTests(SynchronousTestCase):
    """``downloads.cache.enabled: false``."""

    def test_holds_nothing(self) -> None:
        cache: ContentCache = NoContentCache()
        cache.note_download("a")
        self.assertFalse(cache.wants("a", 1))
        self.assertFalse(cache.put("a", b"x"))
        self.assertIsNone(cache.get("a"))
        cache.sweep()
        self.assertEqual((len(cache), cache.size_bytes), (0, 0))


class CountTests(SynchronousTestCase):
    """The download counters are bounded."""

    def test_the_hashes_counted_are_bounded(self) -> None:
        counts = DownloadCounts(30, Clock(FakeReactor()))
        for number in range(MAX_COUNTERS + 10):
            counts.add(str(number))
            counts.add("popular")
        self.assertEqual(len(counts), MAX_COUNTERS)
        self.assertEqual(counts.count("popular"), MAX_COUNTERS + 10)

    def test_idle_hashes_are_forgotten(self) -> None:
        reactor = FakeReactor()
        counts = DownloadCounts(30, Clock(reactor))
        counts.add("a")
        reactor.advance(60)
        counts.add("b")
        reactor.advance(29 * 60)
        counts.drop_idle()
        self.assertEqual((len(counts), counts.count("b")), (1, 1))


@given(st.lists(st.integers(0, 2_000), max_size=40), st.integers(0, 31))
def test_a_count_is_what_a_list_of_all_downloads_gives(
    pauses: list[int], tracked: int
) -> None:
    reactor = FakeReactor()
    counts = DownloadCounts(tracked, Clock(reactor))
    times: list[float] = []
    for pause in pauses:
        reactor.advance(pause)
        now = reactor.seconds()
        if times and now - times[-1] >= tracked * 60:
            times.clear()
        minute = now // 60
        times = [time for time in times if minute - time // 60 <= tracked]
        assert counts.count("a") == len(times)
        counts.add("a")
        times.append(now)


class ContentCacheMachine(RuleBasedStateMachine):
    """Any use in any order: sums are right, limits and cool-downs are kept."""

    @initialize(
        min_cache=st.sampled_from([0, 50, 300]), evicted=st.sampled_from([0, 60])
    )
    def start(self, min_cache: int, evicted: int) -> None:
        self.reactor = FakeReactor()
        self.config = CacheConfig.model_validate(
            {
                **RULES,
                "minCacheTimeSeconds": min_cache,
                "minEvictedTimeSeconds": evicted,
            }
        )
        self.reasons: list[str] = []
        self.cache = InProcessContentCache(
            self.config, Clock(self.reactor), self.reasons.append
        )
        self.entered: dict[str, float] = {}
        self.left: dict[str, float] = {}

    def _settle(self, *, may_be_new: str | None = None) -> None:
        """Note what left; only `may_be_new` may have left in its cool-down."""
        now = self.reactor.seconds()
        for name in [name for name in self.entered if name not in self._names()]:
            entered = self.entered.pop(name)
            if name != may_be_new:
                assert now - entered >= self.config.min_cache_time_seconds
            self.left[name] = now

    def _names(self) -> set[str]:
        return set(self.cache._entries)

    @rule(name=st.sampled_from("abcdef"), times=st.integers(1, 5))
    def download(self, name: str, times: int) -> None:
        for _ in range(times):
            self.cache.note_download(name)

    @rule(name=st.sampled_from("abcdef"), size=st.integers(0, 70))
    def request(self, name: str, size: int) -> None:
        data = self.cache.get(name)
        self._settle(may_be_new=name)
        if data is not None:
            assert name in self.entered
            return
        wanted = self.cache.wants(name, size)
        before, freed = len(self.reasons), self.cache.size_bytes
        assert self.cache.put(name, b"x" * size) == wanted
        self._settle()
        if not wanted:
            assert len(self.reasons) == before
            return
        now = self.reactor.seconds()
        left = self.left.pop(name, None)
        assert left is None or now - left >= self.config.min_evicted_time_seconds
        assert size <= self.config.max_file_size_bytes
        self.entered[name] = now
        evicted = freed + size - self.cache.size_bytes
        assert evicted == 0 or evicted >= size

    @rule()
    def sweep(self) -> None:
        self.cache.sweep()
        self._settle()

    @rule(seconds=st.sampled_from([1, 50, 60, 300, 1_900]))
    def wait(self, seconds: int) -> None:
        self.reactor.advance(seconds)

    @invariant()
    def sums_are_right_and_within_the_limit(self) -> None:
        if not hasattr(self, "cache"):
            return
        held = sum(len(entry.data) for entry in self.cache._entries.values())
        assert held == self.cache.size_bytes <= self.config.max_size_bytes
        assert self._names() == set(self.entered)


TestContentCacheMachine = ContentCacheMachine.TestCase
