"""What the tests of the cluster share: servers, connections, waiting."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mmr.cluster.redis import Redis
from mmr.config.redis import RedisConfig
from mmr.util.clock import Clock

from tests.redis import RedisServer
from tests.waiting import Waiting


def config_of(*servers: RedisServer, **more: object) -> RedisConfig:
    """The ``redis`` section for these servers."""
    shards = [
        {"name": f"shard{number}", "addr": server.address}
        for number, server in enumerate(servers)
    ]
    return RedisConfig.model_validate({"enabled": True, "shards": shards, **more})


class ClusterCase(Waiting, TestCase):
    """Starts and stops what a test asks for."""

    timeout = 60

    def setUp(self) -> None:
        self.clock = Clock(reactor)

    def server(self, *options: str) -> RedisServer:
        """A Redis server of the test's own."""
        server = RedisServer(options)
        server.start()
        self.addCleanup(server.remove)
        return server

    async def redis(self, config: RedisConfig) -> Redis:
        """Connections, ready for use."""
        redis = Redis(config, reactor)
        redis.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(redis.stop()))
        await self.eventually(lambda: all(shard.is_up for shard in redis.shards))
        return redis
