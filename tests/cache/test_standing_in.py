"""Memory in the place of a lost Redis, and only then (R99)."""

from __future__ import annotations

import hashlib

from mmr.cache.content import InProcessContentCache
from mmr.cache.redis import RedisContentCache
from mmr.cache.standing_in import StandingIn
from mmr.config.downloads import CacheConfig

from tests.cache.test_redis import DATA, Foreground
from tests.cluster.cases import ClusterCase, config_of

HASH = hashlib.sha256(DATA).hexdigest()


class StandingInTests(ClusterCase):
    async def begin(self, count: int = 1) -> None:
        self.servers = [self.server() for _ in range(count)]
        self.connections = await self.redis(config_of(*self.servers))
        self.removed: list[str] = []
        shared = RedisContentCache(
            self.connections, 1 << 20, self.clock, Foreground(), self.removed.append
        )
        self.memory = InProcessContentCache(
            CacheConfig(), self.clock, lambda _: None, self.removed.append
        )
        self.cache = StandingIn(shared, self.memory)

    async def download(self) -> str:
        """What a download does; gives where it had the content from."""
        try:
            if self.cache.get(HASH) is not None:
                return "memory"
            if await self.cache.fetch(HASH, len(DATA)) is not None:
                return "redis"
            if self.cache.wants(HASH, len(DATA)):
                self.cache.put(HASH, DATA)
            return "datastore"
        finally:
            self.cache.note_download(HASH)

    async def is_from(self, place: str) -> bool:
        return await self.download() == place

    async def test_with_redis_nothing_is_in_memory(self) -> None:
        await self.begin()
        await self.eventually(lambda: self.is_from("redis"))
        for _ in range(20):
            self.assertEqual(await self.download(), "redis")
        self.assertEqual((len(self.cache), self.cache.size_bytes), (0, 0))

    async def test_memory_has_it_while_redis_is_away(self) -> None:
        await self.begin()
        for _ in range(10):
            await self.download()
        self.servers[0].kill()
        await self.eventually(lambda: self.is_from("memory"), seconds=5)
        self.assertEqual(len(self.cache), 1)
        self.servers[0].start()
        await self.eventually(lambda: self.is_from("redis"), seconds=5)
        self.assertEqual(len(self.cache), 0)

    async def test_only_the_share_of_the_lost_server_is_in_memory(self) -> None:
        await self.begin(2)
        for _ in range(10):
            await self.download()
        mine = self.connections.shard_of(HASH)
        number = list(self.connections.shards).index(mine)
        self.servers[1 - number].kill()
        other = self.connections.shards[1 - number]
        await self.eventually(lambda: not other.is_up)
        await self.eventually(lambda: self.is_from("redis"))
        self.assertEqual(len(self.cache), 0)

    async def test_what_is_removed_is_in_neither(self) -> None:
        """R84: whichever has it."""
        await self.begin()
        for _ in range(10):
            await self.download()
        self.servers[0].kill()
        await self.eventually(lambda: self.is_from("memory"), seconds=5)
        await self.cache.remove(HASH)
        self.assertEqual(self.removed, [HASH])
        for _ in range(10):
            self.assertEqual(await self.download(), "datastore")
        self.servers[0].start()
        await self.eventually(lambda: self.connections.shards[0].is_up, seconds=5)
        for _ in range(10):
            self.assertEqual(await self.download(), "datastore")

    async def test_what_was_purged_is_in_neither_for_now(self) -> None:
        await self.begin()
        for _ in range(10):
            await self.download()
        self.servers[0].kill()
        for drop in (self.drop, self.drop_here):
            await self.eventually(lambda: self.is_from("memory"), seconds=5)
            await drop()
            self.assertEqual(await self.download(), "datastore")
        await self.eventually(lambda: self.is_from("memory"), seconds=5)

    async def drop(self) -> None:
        await self.cache.drop([HASH])

    async def drop_here(self) -> None:
        self.cache.drop_here(HASH)

    async def test_what_another_process_removed_is_in_neither(self) -> None:
        await self.begin()
        for _ in range(10):
            await self.download()
        self.servers[0].kill()
        await self.eventually(lambda: self.is_from("memory"), seconds=5)
        self.cache.forget(HASH)
        self.assertEqual(await self.download(), "datastore")
        self.cache.sweep()
        await self.cache.clear()
