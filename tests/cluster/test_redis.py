"""Redis as it comes and goes (R99)."""

from __future__ import annotations

import time

from twisted.internet import reactor

from mmr.cluster.redis import REPLY_SECONDS, Redis, RedisUnavailable, Shard

from tests.cluster.cases import ClusterCase, config_of


class RedisTests(ClusterCase):
    async def fails(self, shard: Shard) -> bool:
        try:
            await shard.execute("PING")
        except RedisUnavailable:
            return True
        return False

    async def test_values_come_back_as_bytes(self) -> None:
        redis = await self.redis(config_of(self.server()))
        shard = redis.shard_of("key")
        value = bytes(range(256)) * 1000
        await shard.execute("SET", "key", value, "EX", 60)
        self.assertEqual(await shard.execute("GET", "key"), value)
        await shard.execute("SET", "number", b"12")
        self.assertEqual(await shard.execute("GET", "number"), b"12")
        self.assertIsNone(await shard.execute("GET", "nothing"))

    async def test_a_wrong_command_is_no_disaster(self) -> None:
        redis = await self.redis(config_of(self.server()))
        shard = redis.shard_of("key")
        with self.assertRaises(RedisUnavailable):
            await shard.execute("NONSENSE")
        self.assertEqual(await shard.execute("PING"), "PONG")

    async def test_passwords_are_sent(self) -> None:
        server = self.server("requirepass s3cr3t")
        redis = await self.redis(config_of(server, password="s3cr3t"))
        self.assertEqual(await redis.shard_of("key").execute("PING"), "PONG")

    async def test_a_refused_password_makes_it_unavailable_until_it_is_right(
        self,
    ) -> None:
        server = self.server("requirepass other")
        redis = Redis(config_of(server, password="s3cr3t"), reactor)
        redis.start()
        try:
            await self.clock.sleep(0.1)
            self.assertTrue(await self.fails(redis.shards[0]))
            server.kill()
            server._options = ("requirepass s3cr3t",)
            server.start()
            await self.eventually(lambda: redis.shards[0].is_up)
        finally:
            await redis.stop()

    async def test_databases_are_apart(self) -> None:
        server = self.server()
        first = await self.redis(config_of(server))
        second = await self.redis(config_of(server, databaseNumber=3))
        await first.shards[0].execute("SET", "key", "here")
        self.assertIsNone(await second.shards[0].execute("GET", "key"))

    async def test_a_killed_server_fails_at_once_and_is_back_within_5_s(self) -> None:
        server = self.server()
        redis = await self.redis(config_of(server))
        shard = redis.shards[0]
        server.kill()
        await self.eventually(lambda: not shard.is_up)
        started = time.monotonic()
        for _ in range(100):
            self.assertTrue(await self.fails(shard))
        self.assertLess(time.monotonic() - started, REPLY_SECONDS)
        server.start()
        await self.eventually(lambda: shard.is_up, seconds=5)
        self.assertFalse(await self.fails(shard))

    async def test_a_paused_server_costs_one_reply_time_and_no_more(self) -> None:
        server = self.server()
        redis = await self.redis(config_of(server))
        shard = redis.shards[0]
        server.pause()
        started = time.monotonic()
        for _ in range(50):
            self.assertTrue(await self.fails(shard))
        self.assertLess(time.monotonic() - started, 5 * REPLY_SECONDS)
        self.assertFalse(shard.is_up)
        server.resume()
        await self.eventually(lambda: shard.is_up, seconds=5)
        self.assertFalse(await self.fails(shard))

    async def test_keys_stay_where_they_are_when_a_server_is_added(self) -> None:
        servers = [self.server() for _ in range(3)]
        keys = [f"{number:064x}" for number in range(300)]
        three = Redis(config_of(*servers), reactor)
        two = Redis(config_of(*servers[:2]), reactor)
        moved = [
            key for key in keys if three.shard_of(key).name != two.shard_of(key).name
        ]
        self.assertTrue(
            all(three.shard_of(key).name == "shard2" for key in moved), moved
        )
        held = {key: three.shard_of(key).name for key in keys}
        counts = [list(held.values()).count(f"shard{n}") for n in range(3)]
        self.assertTrue(all(count > 50 for count in counts), counts)
