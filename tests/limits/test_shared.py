"""Limits of several processes are one limit while Redis is there (R80)."""

from __future__ import annotations

from typing import ClassVar

from twisted.internet import reactor

from mmr.cluster.redis import Redis
from mmr.limits.buckets import LeakyBuckets, Shape
from mmr.limits.shared import SharedBuckets
from mmr.util.clock import Clock

from tests.cluster.cases import ClusterCase, config_of
from tests.cluster.test_processes import TwoServersCase
from tests.redis import RedisServer


class SharedTests(ClusterCase):
    def setUp(self) -> None:
        super().setUp()
        self.redis_server = self.server()

    async def process(self) -> tuple[LeakyBuckets, SharedBuckets, Redis]:
        redis = await self.redis(config_of(self.redis_server))
        buckets = LeakyBuckets(Shape(100, 0.001), Clock(reactor))
        return buckets, SharedBuckets(redis, {"requests": buckets}, self.clock), redis

    async def test_charges_of_all_processes_add_up(self) -> None:
        first, share_first, _ = await self.process()
        second, share_second, _ = await self.process()
        first.add("a", 60)
        await share_first.share()
        second.add("a", 50)
        self.assertEqual(second.wait_s("a", 1), 0)
        await share_second.share()
        self.assertApproximates(second.level("a"), 110, 1)
        self.assertGreater(second.wait_s("a", 1), 0)

    async def test_what_is_given_back_is_given_back_to_all(self) -> None:
        first, share_first, _ = await self.process()
        second, share_second, _ = await self.process()
        first.add("a", 100)
        await share_first.share()
        first.add("a", -90)
        await share_first.share()
        second.add("a", 1)
        await share_second.share()
        self.assertApproximates(second.level("a"), 11, 1)

    async def test_without_redis_each_process_limits_alone(self) -> None:
        """R80: and requests still succeed."""
        first, share_first, redis = await self.process()
        self.redis_server.kill()
        await self.eventually(lambda: not redis.shards[0].is_up)
        first.add("a", 99)
        await share_first.share()
        self.assertEqual(first.wait_s("a", 1), 0)
        first.add("a", 10)
        await share_first.share()
        self.assertGreater(first.wait_s("a", 1), 0)

    async def test_forgiven_sums_leave_redis(self) -> None:
        buckets, share, redis = await self.process()
        buckets.shape = Shape(100, 1000)
        buckets.add("a", 1)
        await share.share()
        (key,) = await redis.shards[0].execute("KEYS", "mmr:bucket:requests:*")
        self.assertLess(await redis.shards[0].execute("PTTL", key), 2000)

    async def test_no_name_is_in_redis(self) -> None:
        """R42: not even a user's."""
        buckets, share, redis = await self.process()
        buckets.add("user @alice:media.example", 1)
        await share.share()
        (key,) = await redis.shards[0].execute("KEYS", "*")
        self.assertNotIn(b"alice", key)

    async def test_rubbish_in_redis_is_survived(self) -> None:
        """R99."""
        buckets, share, redis = await self.process()
        buckets.add("a", 5)
        await share.share()
        (key,) = await redis.shards[0].execute("KEYS", "*")
        await redis.shards[0].execute("SET", key, "rubbish")
        buckets.add("a", 5)
        await share.share()
        self.assertApproximates(buckets.level("a"), 10, 1)


class TwoServersTests(TwoServersCase):
    """Over HTTP: each would let four requests pass."""

    __test__: ClassVar[bool] = True

    async def setUp(self) -> None:
        self.redis = RedisServer()
        self.redis.start()
        self.addCleanup(self.redis.remove)
        self.config = {  # type: ignore[misc]
            "redis": {
                "enabled": True,
                "shards": [{"name": "one", "addr": self.redis.address}],
            },
            "rateLimit": {
                "enabled": True,
                "requestsPerSecond": 0.01,
                "burst": 4,
                "pathsPerClient": 1,
            },
        }
        await super().setUp()

    async def at_first(self, token: str) -> int:
        return (await self.get(self.download_path("nothing"), token=token)).status

    async def at_other(self, token: str) -> int:
        path = self.download_path("nothing")
        return (await self.at_second(path, token=token)).status

    async def test_what_one_let_pass_counts_at_the_other(self) -> None:
        """R80: and while Redis is away, requests still succeed."""
        first, second = self.server.shared_limits, self.second.shared_limits
        assert first is not None
        assert second is not None
        statuses = [await self.at_first("alice-token") for _ in range(5)]
        self.assertEqual(statuses, [404] * 4 + [429])
        await first.share()
        # It learns of the others when it has something to tell them.
        self.assertEqual(await self.at_other("alice-token"), 404)
        await second.share()
        self.assertEqual(await self.at_other("alice-token"), 429)
        self.assertEqual(await self.at_other("bob-token"), 404)

        self.redis.kill()
        statuses = [await self.at_first("guest-token") for _ in range(4)]
        statuses += [await self.at_other("guest-token") for _ in range(4)]
        self.assertEqual(statuses, [404] * 8)
        self.assertEqual(await self.at_other("guest-token"), 429)
