"""Buckets of several processes, added up in Redis.

Each process decides by what it knows, without asking: the hot path has no round trip.
Twice a second it adds what it charged to the sums in Redis and takes over the results.
So together processes let through a little more than one would, for half a second.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping

from twisted.internet.defer import Deferred, gatherResults

from mmr.cluster.redis import Redis, RedisUnavailable
from mmr.limits.buckets import LeakyBuckets
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

_SHARE_SECONDS = 0.5
_MAX_AT_ONCE = 500

# By Redis's own clock: those of the processes may differ.
_ADD = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local drain = tonumber(ARGV[2])
local old = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = tonumber(old[1]) or 0
level = math.max(0, level - math.max(0, now - (tonumber(old[2]) or now)) * drain)
level = math.max(0, level + tonumber(ARGV[1]))
redis.call('HSET', KEYS[1], 'level', string.format('%.6f', level),
    'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(level / drain * 1000) + 1000)
return string.format('%.6f', level)
"""


class SharedBuckets:
    """Keeps the buckets of this process and of the others together.

    Args:
        redis: Where the sums are.
        buckets: By a name that all processes know them by.
        clock: For the pauses.
    """

    def __init__(
        self, redis: Redis, buckets: Mapping[str, LeakyBuckets], clock: Clock
    ) -> None:
        self._redis = redis
        self._buckets = buckets
        self._clock = clock
        self._running: Deferred[None] | None = None
        for each in buckets.values():
            each.is_shared = True

    def start(self) -> None:
        """Begin to share."""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(lambda _: None)

    def stop(self) -> None:
        """Stop sharing; each process limits alone."""
        if self._running is not None:
            self._running.cancel()

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(_SHARE_SECONDS)
            await self.share()

    async def share(self) -> None:
        """Share what has come together until now. Never fails."""
        await gatherResults(
            [
                Deferred.fromCoroutine(self._add(name, buckets, subject, amount))
                for name, buckets in self._buckets.items()
                for subject, amount in buckets.take_unshared(_MAX_AT_ONCE).items()
            ],
            # Cancelled with us when sharing stops: one failure tells of all.
            consumeErrors=True,
        )

    async def _add(
        self, name: str, buckets: LeakyBuckets, subject: str, amount: float
    ) -> None:
        digest = hashlib.sha256(subject.encode()).hexdigest()
        key = f"mmr:bucket:{name}:{digest}"
        drain = buckets.shape.drain_per_s
        try:
            level = await self._redis.shard_of(key).execute(
                "EVAL", _ADD, 1, key, f"{amount:.6f}", f"{drain:.6f}"
            )
            buckets.learn(subject, float(level))
        except (RedisUnavailable, ValueError) as error:
            # This process knows what it charged; the others don't, now.
            logger.debug("A limit isn't shared: %s", error)
