"""Records kept in memory, for the requests that need nothing else."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, NewType, TypeVar

from mmr.types import Mxc

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Fill = NewType("Fill", int)
"""The moment at which a look-up began."""

# Invalidations remembered for look-ups under way; far more than can be under way.
_MAX_CHANGES = 10_000


class RecordCache(Generic[K, V]):
    """The most recently used records, never older than the last invalidation.

    A look-up that began before an invalidation may have read the old record: it asks
    for `start_fill` first, and `put` drops its result then. What doesn't exist isn't
    kept, so that new media need no invalidation of misses. For use in the reactor
    thread.

    A key is an `Mxc`, or a tuple that begins with one; `invalidate_media` drops all
    keys of one media.

    Other processes keep records too: what is invalidated here is announced, and what
    they announce is forgotten here (`forget_media`, `forget_all`).

    Args:
        max_entries: Records kept; one more drops the one not used for longest.
        announce: Told the media whose records changed; None stands for all media.
    """

    def __init__(
        self,
        max_entries: int,
        announce: Callable[[Mxc | None], object] = lambda _: None,
    ) -> None:
        self._announce = announce
        self._max_entries = max_entries
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._keys_of_media: dict[Hashable, set[K]] = {}
        # Every invalidation has a number; look-ups from before `_forgotten` can't be
        # checked any more and are dropped.
        self._now = 0
        self._forgotten = 0
        self._changed_at: OrderedDict[Hashable, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The record if it is warm."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def start_fill(self) -> Fill:
        """To be called before a look-up, for its `put`."""
        return Fill(self._now)

    def put(self, key: K, value: V, fill: Fill) -> bool:
        """Keep what a look-up found, unless the record changed since it began.

        Returns:
            Whether it was kept. If not, it may be what was so before the change.
        """
        media = _media_of(key)
        if fill < self._forgotten or fill < self._changed_at.get(media, 0):
            return False
        self._entries[key] = value
        self._entries.move_to_end(key)
        self._keys_of_media.setdefault(media, set()).add(key)
        if len(self._entries) > self._max_entries:
            oldest, _ = self._entries.popitem(last=False)
            self._forget_key(oldest)
        return True

    def invalidate(self, key: K) -> None:
        """Drop one record after it was changed."""
        media = _media_of(key)
        self._note_change(media)
        if self._entries.pop(key, None) is not None:
            self._forget_key(key)
        if isinstance(media, Mxc):
            self._announce(media)

    def invalidate_media(self, origin: str, media_id: str) -> None:
        """Drop every record of one media after a change."""
        media = Mxc(origin, media_id)
        self.forget_media(media)
        self._announce(media)

    def forget_media(self, media: Mxc) -> None:
        """Drop every record of one media. Nobody else has to know."""
        self._note_change(media)
        for key in self._keys_of_media.pop(media, ()):
            del self._entries[key]

    def clear(self) -> None:
        """Drop everything, after a change of many records."""
        self.forget_all()
        self._announce(None)

    def forget_all(self) -> None:
        """Drop everything. Nobody else has to know."""
        self._now += 1
        self._forgotten = self._now
        self._changed_at.clear()
        self._entries.clear()
        self._keys_of_media.clear()

    def _note_change(self, media: Hashable) -> None:
        self._now += 1
        self._changed_at[media] = self._now
        self._changed_at.move_to_end(media)
        if len(self._changed_at) > _MAX_CHANGES:
            _, self._forgotten = self._changed_at.popitem(last=False)

    def _forget_key(self, key: K) -> None:
        media = _media_of(key)
        keys = self._keys_of_media[media]
        keys.remove(key)
        if not keys:
            del self._keys_of_media[media]


def _media_of(key: Hashable) -> Hashable:
    return key[0] if isinstance(key, tuple) else key
