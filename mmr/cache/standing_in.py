"""This process's memory stands in for a Redis server that is away (R99)."""

from __future__ import annotations

from collections.abc import Collection

from twisted.internet.defer import Deferred

from mmr.cache.content import ContentCache
from mmr.cache.redis import RedisContentCache


class StandingIn:
    """Content in Redis; while a server is away, its share of it in memory.

    Never both at once: what memory had is dropped when the server is back.

    Args:
        redis: The shared cache.
        memory: The other one.
    """

    def __init__(self, redis: RedisContentCache, memory: ContentCache) -> None:
        self._redis = redis
        self._memory = memory
        self._has_stood_in = False

    @property
    def size_bytes(self) -> int:
        """See `ContentCache.size_bytes`."""
        return self._memory.size_bytes

    def __len__(self) -> int:
        return len(self._memory)

    def get(self, sha256_hash: str) -> bytes | None:
        """See `ContentCache.get`."""
        if self._is_away(sha256_hash):
            return self._memory.get(sha256_hash)
        return None

    async def fetch(self, sha256_hash: str, size: int) -> bytes | None:
        """See `ContentCache.fetch`."""
        return await self._redis.fetch(sha256_hash, size)

    def note_download(self, sha256_hash: str) -> None:
        """See `ContentCache.note_download`. Always: memory has to know at once."""
        self._memory.note_download(sha256_hash)

    def wants(self, sha256_hash: str, size: int) -> bool:
        """See `ContentCache.wants`."""
        if self._is_away(sha256_hash):
            return self._memory.wants(sha256_hash, size)
        return self._redis.wants(sha256_hash, size)

    def put(self, sha256_hash: str, data: bytes) -> bool:
        """See `ContentCache.put`."""
        if self._is_away(sha256_hash):
            return self._memory.put(sha256_hash, data)
        return self._redis.put(sha256_hash, data)

    def forget(self, sha256_hash: str) -> None:
        """See `ContentCache.forget`."""
        self._redis.forget(sha256_hash)
        self._memory.forget(sha256_hash)

    async def remove(self, sha256_hash: str) -> None:
        """See `ContentCache.remove`."""
        self._memory.forget(sha256_hash)
        await self._redis.remove(sha256_hash)

    async def drop(self, contents: Collection[str]) -> None:
        """See `ContentCache.drop`."""
        await self._memory.drop(contents)
        await self._redis.drop(contents)

    def drop_here(self, sha256_hash: str) -> None:
        """See `ContentCache.drop_here`."""
        self._memory.drop_here(sha256_hash)

    async def clear(self) -> None:
        """See `ContentCache.clear`."""
        await self._memory.clear()

    def sweep(self) -> None:
        """See `ContentCache.sweep`."""
        self._redis.sweep()
        self._memory.sweep()

    def _is_away(self, sha256_hash: str) -> bool:
        if not self._redis.is_up(sha256_hash):
            self._has_stood_in = True
            return True
        if self._has_stood_in and self._redis.is_all_up:
            self._has_stood_in = False
            Deferred.fromCoroutine(self._memory.clear())
        return False
