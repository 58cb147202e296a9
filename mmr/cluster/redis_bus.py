"""Messages over Redis: published to every server, heard from every server.

So it doesn't matter on which one another process (an MMR, perhaps) publishes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import txredisapi

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall

from mmr.cluster.bus import CHANNELS, Deliver
from mmr.cluster.redis import Factory, Redis, RedisUnavailable, Shard, endpoint_of

logger = logging.getLogger(__name__)

# A subscription that has nothing to say is asked this often whether it lives.
_PING_SECONDS = 1.0
_MAX_PAYLOAD = 4096


class _Protocol(txredisapi.SubscriberProtocol):
    def messageReceived(self, pattern: Any, channel: bytes, message: bytes) -> None:
        self.factory.received(channel, message)


class _Subscription(Factory):
    """Hears one server's messages.

    Attributes:
        is_live: The server has confirmed the subscription, and answers since.
    """

    protocol = _Protocol

    def __init__(
        self, shard: str, redis: Redis, deliver: Deliver, gap: Callable[[], None]
    ) -> None:
        super().__init__(f"{shard} (messages)", redis.config, 1)
        self._deliver = deliver
        self._gap = gap
        self.is_live = False

    def addConnection(self, conn: Any) -> None:
        super().addConnection(conn)
        if conn in self.pool:
            Deferred.fromCoroutine(self._listen(conn))

    def delConnection(self, conn: Any) -> None:
        self.is_live = False
        super().delConnection(conn)

    def break_off(self) -> None:
        self.is_live = False
        super().break_off()

    async def _listen(self, connection: Any) -> None:
        try:
            # One reply comes for each; the first says that Redis has read them all.
            await connection.subscribe([name.encode() for name in CHANNELS])
            await connection.execute_command("PING")
        except txredisapi.RedisError:
            connection.transport.abortConnection()
            return
        self.is_live = connection in self.pool
        if self.is_live:
            self._gap()

    def received(self, channel: bytes, message: bytes) -> None:
        if len(message) <= _MAX_PAYLOAD:
            self._deliver(
                channel.decode("utf-8", "replace"), message.decode("utf-8", "replace")
            )

    async def ping(self) -> None:
        if self.is_live:
            try:
                await self.pool[0].execute_command("PING")
            except txredisapi.RedisError:
                self.break_off()


class RedisBus:
    """The bus over Redis.

    Args:
        redis: The servers. Messages are published over its connections, and heard over
            one more to each.
        reactor: The reactor.
    """

    def __init__(self, redis: Redis, reactor: Any) -> None:
        self._redis = redis
        self._reactor = reactor
        self._subscriptions: list[_Subscription] = []
        self._pings = LoopingCall(self._ping)
        self._pings.clock = reactor

    @property
    def is_live(self) -> bool:
        """Whether every server's messages are heard."""
        return bool(self._subscriptions) and all(
            subscription.is_live for subscription in self._subscriptions
        )

    def start(self, deliver: Deliver, gap: Callable[[], None]) -> None:
        """See `Transport.start`."""
        config = self._redis.config
        for shard in config.shards:
            subscription = _Subscription(shard.name, self._redis, deliver, gap)
            self._subscriptions.append(subscription)
            subscription.startConnecting(endpoint_of(config, shard.addr, self._reactor))
        self._pings.start(_PING_SECONDS, now=False)

    async def stop(self) -> None:
        """See `Transport.stop`."""
        if self._pings.running:
            self._pings.stop()
        subscriptions, self._subscriptions = self._subscriptions, []
        await gatherResults([each.disconnect() for each in subscriptions])

    async def publish(self, channel: str, payload: str) -> bool:
        """See `Transport.publish`."""
        results = await gatherResults(
            [
                Deferred.fromCoroutine(_publish(shard, channel, payload))
                for shard in self._redis.shards
            ],
            # When the wait is cancelled, each of them fails, and one tells of it.
            consumeErrors=True,
        )
        return any(results)

    def _ping(self) -> None:
        for subscription in self._subscriptions:
            Deferred.fromCoroutine(subscription.ping())


async def _publish(shard: Shard, channel: str, payload: str) -> bool:
    try:
        await shard.execute("PUBLISH", channel, payload)
    except RedisUnavailable:
        return False
    return True
