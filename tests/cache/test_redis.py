"""Content in Redis: complete and right, or not there (R99)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from mmr.cache.redis import MAX_VALUE_BYTES, RedisContentCache
from mmr.cluster.redis import Redis

from tests.cluster.cases import ClusterCase, config_of

P = ParamSpec("P")
R = TypeVar("R")
DATA = b"some content"
LARGE = bytes(range(256)) * 4096


class Foreground:
    async def run(
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return function(*args, **kwargs)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class RedisContentTests(ClusterCase):
    def setUp(self) -> None:
        super().setUp()
        self.servers = [self.server(), self.server()]
        self.removed: list[str] = []

    async def cache(self) -> tuple[RedisContentCache, Redis]:
        redis = await self.redis(config_of(*self.servers))
        cache = RedisContentCache(
            redis, 100 << 20, self.clock, Foreground(), self.removed.append
        )
        return cache, redis

    async def put(self, cache: RedisContentCache, data: bytes) -> str:
        name = sha256(data)
        self.assertTrue(cache.put(name, data))

        async def is_there() -> bool:
            return await cache.fetch(name, len(data)) is not None

        await self.eventually(is_there)
        return name

    async def test_what_one_process_puts_another_gets(self) -> None:
        first, _ = await self.cache()
        second, _ = await self.cache()
        for data in (DATA, LARGE, b"12"):
            name = await self.put(first, data)
            self.assertEqual(await second.fetch(name, len(data)), data)

    async def test_keys_and_values_are_those_of_MMR(self) -> None:
        cache, redis = await self.cache()
        name = await self.put(cache, DATA)
        shard = redis.shard_of(name)
        self.assertEqual(await shard.execute("GET", name), DATA)
        self.assertLessEqual(await shard.execute("TTL", name), 900)
        self.assertGreater(await shard.execute("TTL", name), 800)

    async def test_a_value_that_is_half_written_is_not_believed(self) -> None:
        """D39."""
        cache, redis = await self.cache()
        name = sha256(DATA)
        for value in (DATA[:5], DATA + b"more", DATA[::-1], b"x" * 10_000_000):
            await redis.shard_of(name).execute("SET", name, value)
            self.assertIsNone(await cache.fetch(name, len(DATA)))
            self.assertEqual(await redis.shard_of(name).execute("EXISTS", name), 0)

    async def test_a_key_of_another_type_is_survived(self) -> None:
        cache, redis = await self.cache()
        name = sha256(DATA)
        await redis.shard_of(name).execute("LPUSH", name, "x")
        self.assertIsNone(await cache.fetch(name, len(DATA)))

    async def test_large_and_empty_files_stay_out(self) -> None:
        cache, _ = await self.cache()
        self.assertFalse(cache.wants("a" * 64, MAX_VALUE_BYTES + 1))
        self.assertIsNone(await cache.fetch("a" * 64, MAX_VALUE_BYTES + 1))
        self.assertFalse(cache.wants("a" * 64, 0))

    async def test_what_is_moved_at_once_is_bounded(self) -> None:
        cache, _ = await self.cache()
        data = b"x" * MAX_VALUE_BYTES
        taken = [cache.put(f"{number:064}", data) for number in range(10)]
        self.assertEqual(taken.count(True), 4)
        await self.eventually(lambda: cache.wants("a" * 64, MAX_VALUE_BYTES))

    async def test_a_removal_reaches_every_server_and_bars_late_readers(self) -> None:
        """R84: copies that an MMR wrote are on all of them."""
        cache, redis = await self.cache()
        name = await self.put(cache, DATA)
        for shard in redis.shards:
            await shard.execute("SET", name, DATA)
        await cache.remove(name)
        for shard in redis.shards:
            self.assertEqual(await shard.execute("EXISTS", name), 0)
        self.assertEqual(self.removed, [name])
        self.assertFalse(cache.put(name, DATA))
        await redis.shard_of(name).execute("SET", name, DATA)
        self.assertIsNone(await cache.fetch(name, len(DATA)))

    async def test_what_was_purged_leaves_every_server_and_may_come_back(self) -> None:
        cache, redis = await self.cache()
        names = [await self.put(cache, DATA), await self.put(cache, LARGE)]
        for shard in redis.shards:
            await shard.execute("SET", names[0], DATA)
        await cache.drop(names)
        await cache.drop([])
        for shard in redis.shards:
            self.assertEqual(await shard.execute("EXISTS", *names), 0)
        self.assertEqual(self.removed, [])
        await self.put(cache, DATA)

    async def test_another_process_that_was_told_takes_nothing_either(self) -> None:
        cache, _ = await self.cache()
        cache.forget(sha256(DATA))
        self.assertFalse(cache.put(sha256(DATA), DATA))
        self.assertEqual(self.removed, [])

    async def test_a_lost_server_is_a_cache_that_has_nothing(self) -> None:
        cache, redis = await self.cache()
        name = await self.put(cache, DATA)
        for server in self.servers:
            server.kill()
        await self.eventually(lambda: not any(shard.is_up for shard in redis.shards))
        self.assertIsNone(await cache.fetch(name, len(DATA)))
        self.assertFalse(cache.wants(name, len(DATA)))
        await cache.remove(name)
        self.assertEqual(self.removed, [name])

    async def test_a_paused_server_is_not_waited_for_twice(self) -> None:
        cache, redis = await self.cache()
        name = await self.put(cache, DATA)
        for server in self.servers:
            server.pause()
        self.assertIsNone(await cache.fetch(name, len(DATA)))
        self.assertFalse(redis.shard_of(name).is_up)
        for server in self.servers:
            server.resume()

        async def is_back() -> bool:
            return await cache.fetch(name, len(DATA)) == DATA

        await self.eventually(is_back, seconds=5)
