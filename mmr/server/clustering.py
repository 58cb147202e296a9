"""What this process shares with others: Redis, messages, leases, limits."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from mmr.cluster.bus import (
    ALL_CHANGED,
    CONTENT_PURGED,
    CONTENT_REMOVED,
    MEDIA_UPLOADED,
    RECORD_CHANGED,
    TASK_QUEUED,
    USER_LOGGED_OUT,
    Bus,
    Transport,
)
from mmr.cluster.leases import Leases
from mmr.cluster.machine import MachineNumber
from mmr.cluster.postgres import PostgresSession
from mmr.cluster.redis import Redis
from mmr.cluster.redis_bus import RedisBus
from mmr.config import Config
from mmr.limits.callers import CallerLimits
from mmr.limits.shared import SharedBuckets
from mmr.storage.database import Database, open_database
from mmr.storage.engines import PostgresEngine
from mmr.types import Mxc
from mmr.util.clock import Clock


class Clustering:
    """The database and what processes on one database tell each other.

    Args:
        config: The configuration of this moment; a reload replaces it.
        reactor: The reactor.
        machine_id: ``MACHINE_ID``; 0 does the recurring work.
    """

    def __init__(self, config: Config, reactor: Any, machine_id: int = 0) -> None:
        self.config = config
        self.reactor = reactor
        self.machine_id = machine_id

    @cached_property
    def clock(self) -> Clock:
        return Clock(self.reactor)

    @cached_property
    def db(self) -> Database:
        return open_database(self.config.database, self.reactor, self.clock)

    @cached_property
    def redis(self) -> Redis | None:
        config = self.config.redis
        return Redis(config, self.reactor) if config.enabled else None

    @cached_property
    def session(self) -> PostgresSession | None:
        engine = self.db.engine
        if not isinstance(engine, PostgresEngine):
            return None
        return PostgresSession(engine, self.clock, self.reactor)

    @cached_property
    def bus(self) -> Bus:
        transports: list[Transport] = []
        if self.redis is not None:
            transports.append(RedisBus(self.redis, self.reactor))
        if self.session is not None:
            transports.append(self.session)
        return Bus(transports, self.clock)

    @cached_property
    def leases(self) -> Leases:
        return Leases(self.redis, self.session, self.clock)

    @cached_property
    def machine(self) -> MachineNumber:
        return MachineNumber(self.machine_id, self.session, self.clock)

    @cached_property
    def caller_limits(self) -> CallerLimits:
        return CallerLimits(self.config.rate_limit, self.clock)

    @cached_property
    def shared_limits(self) -> SharedBuckets | None:
        if self.redis is None:
            return None
        return SharedBuckets(self.redis, self.caller_limits.buckets, self.clock)

    def join_cluster(self) -> None:
        """Connect to the others. The handlers are set by then."""
        if self.redis is not None:
            self.redis.start()
        if self.shared_limits is not None:
            self.shared_limits.start()
        self.bus.start()

    async def leave_cluster(self) -> None:
        """Close what `join_cluster` opened."""
        if self.shared_limits is not None:
            self.shared_limits.stop()
        await self.bus.stop()
        if self.redis is not None:
            await self.redis.stop()

    def announce_record(self, mxc: Mxc | None) -> None:
        """Tell the others that a record changed; None: that many did."""
        if mxc is None:
            self.bus.publish(ALL_CHANGED)
        else:
            self.bus.publish(RECORD_CHANGED, str(mxc))

    def announce_upload(self, mxc: Mxc) -> None:
        """Tell the others that what was reserved has come."""
        self.bus.publish(MEDIA_UPLOADED, str(mxc))

    def announce_removal(self, sha256_hash: str) -> None:
        """Tell the others that content may not be served any more."""
        self.bus.publish(CONTENT_REMOVED, sha256_hash)

    def announce_purge(self, sha256_hash: str) -> None:
        """Tell the others that nothing refers to content any more."""
        self.bus.publish(CONTENT_PURGED, sha256_hash)

    def announce_logout(self, user_id: str) -> None:
        """Tell the others that a user's tokens may have ended."""
        self.bus.publish(USER_LOGGED_OUT, user_id)

    async def announce_task(self, number: int) -> None:
        """Tell machine 0 that there is a task."""
        self.bus.publish(TASK_QUEUED, str(number))


def mxc_of(payload: str) -> Mxc:
    """The media that a message names. Older ids may not fit today's grammar."""
    origin, _, media_id = payload.removeprefix("mxc://").partition("/")
    return Mxc(origin, media_id)
