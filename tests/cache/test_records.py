"""The record cache is bounded and never older than the last invalidation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mmr.cache import records
from mmr.cache.records import RecordCache
from mmr.types import Mxc

A, B, C = (Mxc("example.org", name) for name in "abc")


def filled(*keys: object, max_entries: int = 10) -> RecordCache[object, str]:
    cache: RecordCache[object, str] = RecordCache(max_entries)
    for key in keys:
        cache.put(key, f"record of {key}", cache.start_fill())
    return cache


def test_keeps_what_was_put() -> None:
    cache = filled(A)
    assert cache.get(A) == f"record of {A}"
    assert cache.get(B) is None


def test_drops_what_was_not_used_for_longest() -> None:
    cache = filled(A, B, max_entries=2)
    cache.get(A)
    cache.put(C, "c", cache.start_fill())
    assert cache.get(B) is None
    assert len(cache) == 2
    assert cache.get(A) is not None


def test_an_invalidated_record_is_gone() -> None:
    cache = filled(A, B)
    cache.invalidate(A)
    cache.invalidate(C)
    assert cache.get(A) is None
    assert cache.get(B) is not None


def test_invalidating_media_drops_all_its_records() -> None:
    cache = filled((A, 96, 96), (A, 32, 32), (B, 96, 96), A)
    cache.invalidate_media("example.org", "a")
    assert len(cache) == 1
    assert cache.get((B, 96, 96)) is not None


def test_a_lookup_from_before_an_invalidation_is_not_kept() -> None:
    """R84: the record that was read is from before the quarantine."""
    for change in (
        lambda cache: cache.invalidate(A),
        lambda cache: cache.invalidate_media("example.org", "a"),
        lambda cache: cache.clear(),
    ):
        cache = filled()
        fill = cache.start_fill()
        change(cache)
        cache.put(A, "stale", fill)
        assert cache.get(A) is None
        cache.put(A, "fresh", cache.start_fill())
        assert cache.get(A) == "fresh"


def test_a_change_of_other_media_does_not_matter() -> None:
    cache = filled()
    fill = cache.start_fill()
    cache.invalidate(B)
    cache.put(A, "a", fill)
    assert cache.get(A) == "a"


def test_clear_drops_everything() -> None:
    cache = filled(A, (B, 1))
    cache.clear()
    assert len(cache) == 0
    cache.invalidate_media("example.org", "b")


KEYS = st.sampled_from([A, B, (A, 1), (A, 2), (B, 1), (C, 1)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["start", "put", "write", "invalidate"]), KEYS),
        st.tuples(st.just("write_media"), st.sampled_from([A, B, C])),
        st.tuples(st.just("clear"), KEYS),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 4), st.integers(1, 3))
def test_no_interleaving_leaves_a_stale_record(
    steps: list[tuple[str, object]], max_entries: int, max_changes: int
) -> None:
    """A database beside the cache: what is warm is what the database has."""
    cache: RecordCache[object, int] = RecordCache(max_entries)
    database: dict[object, int] = {}
    running: dict[object, tuple[records.Fill, int]] = {}
    kept = records._MAX_CHANGES
    records._MAX_CHANGES = max_changes
    try:
        for number, (step, key) in enumerate(steps):
            if step == "start":
                running[key] = (cache.start_fill(), database.get(key, -1))
            elif step == "put" and key in running:
                fill, found = running.pop(key)
                cache.put(key, found, fill)
            elif step == "write":
                database[key] = number
                cache.invalidate(key)
            elif step == "write_media":
                for each in [each for each in database if key in (each, _first(each))]:
                    database[each] = number
                assert isinstance(key, Mxc)
                cache.invalidate_media(key.origin, key.media_id)
            elif step == "clear":
                database = dict.fromkeys(database, number)
                cache.clear()
            assert len(cache) <= max_entries
            for each in (A, B, (A, 1), (A, 2), (B, 1), (C, 1)):
                warm = cache.get(each)
                assert warm is None or warm == database.get(each, -1)
    finally:
        records._MAX_CHANGES = kept


def _first(key: object) -> object:
    return key[0] if isinstance(key, tuple) else key
