"""Often read content in Redis, for all processes together (mmr-http-api §12.2).

Keys and values are MMR's: the SHA-256 in hex, and the bare bytes, for 15 minutes. What
is read is believed only when its length and its hash are right (R99), so neither a
half-written value of an MMR nor rubbish is ever served. Unlike MMR it writes a value in
one piece, to the one server that it belongs to, and also when content is read.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection

from twisted.internet.defer import Deferred, gatherResults

from mmr.cluster.redis import Redis, RedisUnavailable, Shard
from mmr.metrics import cache_events
from mmr.storage.objects import is_stand_in
from mmr.util.clock import Clock
from mmr.util.threads import Runner

logger = logging.getLogger(__name__)

MAX_VALUE_BYTES = 4 << 20
"""Larger files come from their datastore, which streams them."""

_TTL_SECONDS = 15 * 60
# What may be on its way from or to Redis at once, in bytes: it is all in memory, and
# more than this couldn't be had within the time that a reply may take.
_MAX_MOVING_BYTES = 16 << 20
# Larger values are hashed in a thread.
_HASHED_HERE_BYTES = 64 << 10
# A reader that began before a removal may come with the bytes after it.
_REMOVED_SECONDS = 60


class RedisContentCache:
    """Content in Redis. Holds nothing itself, so `get` never has anything.

    Args:
        redis: The servers.
        max_file_bytes: ``downloads.cache.maxFileSizeBytes``.
        clock: For the removals.
        threads: Hashes what is large.
        on_remove: Told each hash that is removed, for the other processes.
    """

    size_bytes = 0

    def __init__(
        self,
        redis: Redis,
        max_file_bytes: int,
        clock: Clock,
        threads: Runner,
        on_remove: Callable[[str], object],
    ) -> None:
        self._redis = redis
        self._max_bytes = min(max_file_bytes, MAX_VALUE_BYTES)
        self._clock = clock
        self._threads = threads
        self._on_remove = on_remove
        self._events = cache_events("media")
        self._moving_bytes = 0
        self._removed_until: dict[str, float] = {}

    def __len__(self) -> int:
        return 0

    def get(self, sha256_hash: str) -> bytes | None:
        """Nothing is in this process."""
        return None

    def note_download(self, sha256_hash: str) -> None:
        """Not counted: everything of a fitting size is kept for a while."""

    async def fetch(self, sha256_hash: str, size: int) -> bytes | None:
        """See `ContentCache.fetch`. One round trip."""
        if not self._may_move(sha256_hash, size):
            return None
        self._moving_bytes += size
        try:
            # One more than there should be, and never all of what somebody put there.
            data = await self._redis.shard_of(sha256_hash).execute(
                "GETRANGE", sha256_hash, 0, size
            )
        except RedisUnavailable:
            return None
        finally:
            self._moving_bytes -= size
        if not data:
            self._events.misses.inc()
            return None
        if len(data) == size and await self._hash(data) == sha256_hash:
            self._events.hits.inc()
            return bytes(data)
        self._events.misses.inc()
        logger.warning("Redis has other bytes for %s: deleted", sha256_hash)
        await self._delete(sha256_hash)
        return None

    @property
    def is_all_up(self) -> bool:
        """Whether all servers answer."""
        return all(shard.is_up for shard in self._redis.shards)

    def is_up(self, sha256_hash: str) -> bool:
        """Whether the server answers that would have this content."""
        return self._redis.shard_of(sha256_hash).is_up

    def wants(self, sha256_hash: str, size: int) -> bool:
        """See `ContentCache.wants`."""
        return self._may_move(sha256_hash, size) and self.is_up(sha256_hash)

    def put(self, sha256_hash: str, data: bytes) -> bool:
        """See `ContentCache.put`. It goes out later."""
        if not self.wants(sha256_hash, len(data)):
            return False
        Deferred.fromCoroutine(self._store(sha256_hash, data))
        return True

    def forget(self, sha256_hash: str) -> None:
        """See `ContentCache.forget`."""
        now = self._clock.monotonic()
        self._removed_until[sha256_hash] = now + _REMOVED_SECONDS

    async def remove(self, sha256_hash: str) -> None:
        """See `ContentCache.remove`. From every server: MMR writes to them all."""
        self.forget(sha256_hash)
        self._on_remove(sha256_hash)
        await self._delete(sha256_hash)

    async def drop(self, contents: Collection[str]) -> None:
        """See `ContentCache.drop`. One round trip to every server."""
        if contents:
            await self._delete(*contents)

    def drop_here(self, sha256_hash: str) -> None:
        """Nothing is in this process."""

    async def clear(self) -> None:
        """Nothing is in this process; what is in Redis is checked when it is read."""

    def sweep(self) -> None:
        """Forget old removals."""
        now = self._clock.monotonic()
        for sha256_hash, until in list(self._removed_until.items()):
            if until <= now:
                del self._removed_until[sha256_hash]

    def _may_move(self, sha256_hash: str, size: int) -> bool:
        return (
            0 < size <= self._max_bytes
            # What comes back could not be checked.
            and not is_stand_in(sha256_hash)
            and self._moving_bytes + size <= _MAX_MOVING_BYTES
            and not self._is_removed(sha256_hash)
        )

    def _is_removed(self, sha256_hash: str) -> bool:
        until = self._removed_until.get(sha256_hash)
        return until is not None and until > self._clock.monotonic()

    async def _store(self, sha256_hash: str, data: bytes) -> None:
        self._moving_bytes += len(data)
        shard = self._redis.shard_of(sha256_hash)
        try:
            await shard.execute("SET", sha256_hash, data, "EX", _TTL_SECONDS)
        except RedisUnavailable as error:
            logger.debug("Content isn't kept in Redis: %s", error)
        finally:
            self._moving_bytes -= len(data)
        if self._is_removed(sha256_hash):
            await self._delete(sha256_hash)

    async def _delete(self, *contents: str) -> None:
        async def delete(shard: Shard) -> None:
            try:
                await shard.execute("DEL", *contents)
            except RedisUnavailable:
                # It ends by itself, and no record leads to it (R84).
                logger.warning(
                    "Redis %s may still have %d contents, such as %s",
                    shard.name,
                    len(contents),
                    contents[0],
                )

        await gatherResults(
            [Deferred.fromCoroutine(delete(shard)) for shard in self._redis.shards]
        )

    async def _hash(self, data: bytes) -> str:
        if len(data) <= _HASHED_HERE_BYTES:
            return hashlib.sha256(data).hexdigest()
        return await self._threads.run(_sha256, data)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
