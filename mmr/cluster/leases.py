"""Work that one process does for all: a fetch, a render.

A lease saves work, no more: it may be lost, or be held twice, and then the same thing
is made twice and committed once (R99).
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall

from mmr.cluster.postgres import PostgresSession, SessionLost
from mmr.cluster.redis import Redis, RedisUnavailable, Shard
from mmr.util.clock import Clock
from mmr.util.shield import shield

logger = logging.getLogger(__name__)

R = TypeVar("R")

_LEASE_MS = 10_000
_RENEW_SECONDS = 3.0
_FIRST_LOOK_SECONDS = 0.1
_LAST_LOOK_SECONDS = 1.0
# One who has waited so long makes it too: its clients wait for a first byte.
_PATIENCE_SECONDS = 20.0

_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class Lease:
    """The right to do something, until it is released."""

    def __init__(self, release: Callable[[], Awaitable[None]] | None = None) -> None:
        self._release = release

    async def release(self) -> None:
        """Let another process do it. Never fails; does nothing the second time."""
        release, self._release = self._release, None
        if release is not None:
            await release()


class Leases:
    """Gives leases: over Redis, else over PostgreSQL, else to whoever asks.

    Args:
        redis: None without Redis.
        session: None without PostgreSQL.
        clock: For the renewals and pauses.
    """

    def __init__(
        self, redis: Redis | None, session: PostgresSession | None, clock: Clock
    ) -> None:
        self._redis = redis
        self._session = session
        self._clock = clock

    @property
    def is_alone(self) -> bool:
        """Whether no other process can be there."""
        return self._redis is None and self._session is None

    async def take(self, name: str) -> Lease | None:
        """Take the lease of a name; None when another process has it."""
        digest = hashlib.sha256(name.encode()).digest()
        if self._redis is not None:
            key = f"mmr:lease:{digest.hex()}"
            try:
                return await self._take_from_redis(self._redis.shard_of(key), key)
            except RedisUnavailable:
                pass
        if self._session is not None:
            number = int.from_bytes(digest[:8], "big", signed=True)
            try:
                return await self._take_from_postgres(self._session, number)
            except SessionLost:
                pass
        return Lease()

    async def once(
        self,
        name: str,
        find: Callable[[], Awaitable[R | None]],
        make: Callable[[], Awaitable[R]],
    ) -> R:
        """Find what was made, or make it, in one process at a time.

        Args:
            name: What it is.
            find: Looks for what another process may have made.
            make: Makes it.
        """
        if self.is_alone:
            return await make()
        deadline = self._clock.monotonic() + _PATIENCE_SECONDS
        pause = _FIRST_LOOK_SECONDS
        while True:
            lease = await self._take_or_give_back(name)
            if lease is not None or self._clock.monotonic() >= deadline:
                break
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, _LAST_LOOK_SECONDS)
            found = await find()
            if found is not None:
                return found
        try:
            found = await find()
            return await make() if found is None else found
        finally:
            if lease is not None:
                await lease.release()

    async def _take_or_give_back(self, name: str) -> Lease | None:
        """As `take`; what comes after the caller was cancelled is given back."""
        is_left = False

        async def take() -> Lease | None:
            lease = await self.take(name)
            if is_left and lease is not None:
                await lease.release()
            return lease

        try:
            return await shield(take())
        except CancelledError:
            is_left = True
            raise

    async def _take_from_redis(self, shard: Shard, key: str) -> Lease | None:
        token = os.urandom(16).hex()
        taken = await shard.execute("SET", key, token, "NX", "PX", _LEASE_MS)
        if taken is None:
            return None

        async def renew() -> None:
            try:
                await shard.execute("EVAL", _RENEW, 1, key, token, _LEASE_MS)
            except RedisUnavailable:
                logger.debug("A lease can't be renewed now")

        renewals = LoopingCall(lambda: Deferred.fromCoroutine(renew()))
        renewals.start(_RENEW_SECONDS, now=False)

        async def release() -> None:
            renewals.stop()
            try:
                await shard.execute("EVAL", _RELEASE, 1, key, token)
            except RedisUnavailable:
                logger.debug("A lease can't be given back; it ends by itself")

        return Lease(release)

    async def _take_from_postgres(
        self, session: PostgresSession, number: int
    ) -> Lease | None:
        taken = await session.query("SELECT pg_try_advisory_lock(%s)", (number,))
        if not taken:
            return None
        generation = session.generation

        async def release() -> None:
            if session.generation != generation:
                return
            try:
                await session.query("SELECT pg_advisory_unlock(%s)", (number,))
            except SessionLost:
                logger.debug("A lease ended with its connection")

        return Lease(release)
