"""Often read content in memory: MMR 1.2's algorithm (mmr-config §5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Protocol

import attrs

from mmr.cache.download_counts import DownloadCounts
from mmr.config.downloads import CacheConfig
from mmr.util.clock import Clock

SWEEP_SECONDS = 300.0
"""How often `ContentCache.sweep` is due."""

# Entries weighed at most to make room for one: bounds the time in the reactor thread
# to about a millisecond.
_MAX_WEIGHED = 1_024

# An entry that fills the room for another may be this much larger than it.
_LARGEST_VICTIM = 1.25

# A reader that began before a removal may come with the bytes after it. It must not
# put quarantined content back, however short the operator's own pause is.
_MIN_REMOVED_SECONDS = 60

OnRemove = Callable[[str], object]
"""Told the hash of content that may not be served any more, for other processes."""

OnEvict = Callable[[str], object]
"""Told the reason of each eviction: ``not_enough_downloads`` or ``need_space``."""


class ContentCache(Protocol):
    """Whole objects by SHA-256 (hex), for downloads and thumbnails.

    A download is: `get`, else `fetch`, else `wants` and, when it does, `put` of all the
    bytes; after the answer `note_download`. Only `fetch`, `remove` and `clear` wait for
    anything, so that the hot path stays in the reactor thread.
    """

    @property
    def size_bytes(self) -> int:
        """Bytes held."""
        ...

    def __len__(self) -> int:
        """Objects held."""
        ...

    def get(self, sha256_hash: str) -> bytes | None:
        """The content if it is in memory."""
        ...

    async def fetch(self, sha256_hash: str, size: int) -> bytes | None:
        """The content if it is somewhere near; complete and checked, or None."""
        ...

    def note_download(self, sha256_hash: str) -> None:
        """Count one download; after the answer, so that it doesn't count itself."""
        ...

    def wants(self, sha256_hash: str, size: int) -> bool:
        """Whether `put` would take content that `get` didn't have."""
        ...

    def put(self, sha256_hash: str, data: bytes) -> bool:
        """Offer content. Tells whether it was taken."""
        ...

    async def remove(self, sha256_hash: str) -> None:
        """Drop content that may not be served any more (R84), in all processes. A `put`
        of a reader that is under way is refused.
        """
        ...

    def forget(self, sha256_hash: str) -> None:
        """Do in this process what another process's `remove` asks for."""
        ...

    async def drop(self, contents: Collection[str]) -> None:
        """Let go of contents that were purged, here and where they are shared. Unlike
        what was removed, they may come back at once.
        """
        ...

    def drop_here(self, sha256_hash: str) -> None:
        """Do in this process what another process's `drop` asks for."""
        ...

    async def clear(self) -> None:
        """Drop everything."""
        ...

    def sweep(self) -> None:
        """Tidy up; due every `SWEEP_SECONDS`."""
        ...


@attrs.frozen(slots=True)
class _Entry:
    data: bytes
    movable_at: float
    """End of the time that every entry stays."""


class InProcessContentCache:
    """Content that was downloaded often enough lately, in this process's memory.

    Content enters and stays by its downloads in the window. Room for new content is
    made from entries that are not much larger, less often downloaded, and not new;
    the least downloaded and smallest go first. Of MMR's rules one is left out, the
    "aggressive" clearing above the maximum: with exact sums it can't come to that.

    Args:
        config: ``downloads.cache``. A change of it means a new object.
        clock: Monotonic time.
        on_evict: See `OnEvict`.
        on_remove: See `OnRemove`.
    """

    def __init__(
        self,
        config: CacheConfig,
        clock: Clock,
        on_evict: OnEvict,
        on_remove: OnRemove = lambda _: None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._on_evict = on_evict
        self._on_remove = on_remove
        self._counts = DownloadCounts(config.tracked_minutes, clock)
        # In the order of entering, so that those which may not be evicted come last.
        self._entries: dict[str, _Entry] = {}
        self._barred_until: dict[str, float] = {}
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, sha256_hash: str) -> bytes | None:
        """See `ContentCache.get`. Content that lost its audience leaves here."""
        entry = self._entries.get(sha256_hash)
        if entry is None:
            return None
        if self._counts.count(sha256_hash) < self._config.min_downloads:
            self._evict(sha256_hash, "not_enough_downloads")
            return None
        return entry.data

    async def fetch(self, sha256_hash: str, size: int) -> bytes | None:
        """See `ContentCache.fetch`. What isn't in memory isn't near."""
        return None

    def note_download(self, sha256_hash: str) -> None:
        """See `ContentCache.note_download`."""
        self._counts.add(sha256_hash)

    def wants(self, sha256_hash: str, size: int) -> bool:
        """See `ContentCache.wants`."""
        return (
            self._may_enter(sha256_hash, size)
            and self._victims(sha256_hash, size) is not None
        )

    def put(self, sha256_hash: str, data: bytes) -> bool:
        """See `ContentCache.put`."""
        if not self._may_enter(sha256_hash, len(data)):
            return False
        victims = self._victims(sha256_hash, len(data))
        if victims is None:
            return False
        for victim in victims:
            self._evict(victim, "need_space")
        movable_at = self._clock.monotonic() + self._config.min_cache_time_seconds
        self._entries[sha256_hash] = _Entry(data, movable_at)
        self.size_bytes += len(data)
        return True

    async def remove(self, sha256_hash: str) -> None:
        """See `ContentCache.remove`."""
        self.forget(sha256_hash)
        self._on_remove(sha256_hash)

    def forget(self, sha256_hash: str) -> None:
        """See `ContentCache.forget`."""
        self.drop_here(sha256_hash)
        pause = max(_MIN_REMOVED_SECONDS, self._config.min_evicted_time_seconds)
        self._bar(sha256_hash, pause)

    async def drop(self, contents: Collection[str]) -> None:
        """See `ContentCache.drop`."""
        for sha256_hash in contents:
            self.drop_here(sha256_hash)

    def drop_here(self, sha256_hash: str) -> None:
        """See `ContentCache.drop_here`."""
        entry = self._entries.pop(sha256_hash, None)
        if entry is not None:
            self.size_bytes -= len(entry.data)

    async def clear(self) -> None:
        """See `ContentCache.clear`."""
        self._entries.clear()
        self.size_bytes = 0

    def sweep(self) -> None:
        """Evict what has stayed its time, popular or not, and forget old counts.

        What is still popular comes back with a later download.
        """
        now = self._clock.monotonic()
        gathered = 0
        for sha256_hash, entry in list(self._entries.items()):
            if entry.movable_at > now or gathered >= self._config.max_size_bytes:
                break
            if len(entry.data) < self._config.max_size_bytes:
                gathered += len(entry.data)
                self._evict(sha256_hash, "need_space")
        self._counts.drop_idle()
        for sha256_hash in list(self._barred_until):
            self._is_barred(sha256_hash)

    def _may_enter(self, sha256_hash: str, size: int) -> bool:
        return (
            sha256_hash not in self._entries
            and size <= self._config.max_file_size_bytes
            and size <= self._config.max_size_bytes
            and self._counts.count(sha256_hash) >= self._config.min_downloads
            and not self._is_barred(sha256_hash)
        )

    def _victims(self, sha256_hash: str, size: int) -> list[str] | None:
        """What to evict for new content; None when not enough may go."""
        if self.size_bytes + size <= self._config.max_size_bytes:
            return []
        victims = []
        gathered = 0
        for _, victim_size, victim in sorted(self._candidates(sha256_hash, size)):
            victims.append(victim)
            gathered += victim_size
            if gathered >= size:
                return victims
        return None

    def _candidates(self, sha256_hash: str, size: int) -> list[tuple[int, int, str]]:
        """Entries that may go, as (downloads, size, hash)."""
        limit = math.ceil(size * _LARGEST_VICTIM)
        downloads = self._counts.count(sha256_hash)
        now = self._clock.monotonic()
        found = []
        for weighed, (candidate, entry) in enumerate(self._entries.items()):
            if entry.movable_at > now or weighed >= _MAX_WEIGHED:
                break
            if len(entry.data) < limit:
                count = self._counts.count(candidate)
                if count < downloads:
                    found.append((count, len(entry.data), candidate))
        return found

    def _evict(self, sha256_hash: str, reason: str) -> None:
        self.drop_here(sha256_hash)
        self._bar(sha256_hash, self._config.min_evicted_time_seconds)
        self._on_evict(reason)

    def _bar(self, sha256_hash: str, seconds: float) -> None:
        self._barred_until[sha256_hash] = self._clock.monotonic() + seconds

    def _is_barred(self, sha256_hash: str) -> bool:
        until = self._barred_until.get(sha256_hash)
        if until is None:
            return False
        if until > self._clock.monotonic():
            return True
        del self._barred_until[sha256_hash]
        return False


class NoContentCache:
    """``downloads.cache.enabled: false``: holds nothing, wants nothing."""

    size_bytes = 0

    def __len__(self) -> int:
        return 0

    def get(self, sha256_hash: str) -> bytes | None:
        """Nothing."""
        return None

    async def fetch(self, sha256_hash: str, size: int) -> bytes | None:
        """Nothing."""
        return None

    def note_download(self, sha256_hash: str) -> None:
        """Not counted."""

    def wants(self, sha256_hash: str, size: int) -> bool:
        """Never."""
        return False

    def put(self, sha256_hash: str, data: bytes) -> bool:
        """Not taken."""
        return False

    async def remove(self, sha256_hash: str) -> None:
        """Nothing is there."""

    def forget(self, sha256_hash: str) -> None:
        """Nothing is there."""

    async def drop(self, contents: Collection[str]) -> None:
        """Nothing is there."""

    def drop_here(self, sha256_hash: str) -> None:
        """Nothing is there."""

    async def clear(self) -> None:
        """Nothing is there."""

    def sweep(self) -> None:
        """Nothing to tidy up."""
