"""Redis: several servers, each asked briefly, none needed.

Whatever is kept there can be lost at any moment (R99): callers take `RedisUnavailable`
for "not there" and go on without.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

import txredisapi

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IStreamClientEndpoint

from mmr.config.redis import RedisConfig
from mmr.http.endpoints import trusted_endpoint

logger = logging.getLogger(__name__)

REPLY_SECONDS = 0.5
"""A server that needs longer is left alone until it answers a new connection."""

_CONNECT_SECONDS = 2.0
_CONNECTIONS = 4
# Commands under way to one server; more are not even sent.
_MAX_PENDING = 1_000

Argument = str | bytes | int


class RedisUnavailable(Exception):
    """The server doesn't answer, or not with what it was asked for."""


class Factory(txredisapi.RedisFactory):
    """Keeps connections to one server open, for ever.

    A connection counts only after the server has answered on it (``SELECT``), so one
    that accepts connections and then says nothing costs nobody any time.

    Args:
        name: For the log.
        config: Password and database.
        connections: How many.
    """

    initialDelay = 0.2
    factor = 1.5
    maxDelay = 2.0

    def __init__(self, name: str, config: RedisConfig, connections: int) -> None:
        super().__init__(
            name,
            config.database_number,
            connections,
            isLazy=True,
            charset=None,
            password=config.password or None,
            username=config.username or None,
            replyTimeout=REPLY_SECONDS,
            convertNumbers=False,
        )
        self._name = name
        self.pool: list[Any] = []
        # Nobody waits for the whole pool.
        self.deferred = None

    def stopTrying(self) -> Deferred[None]:
        """A refused password ends nothing: it may be put right on the server."""
        return succeed(None)

    def addConnection(self, conn: Any) -> None:
        """A connection can be used."""
        super().addConnection(conn)
        if self.size == 1:
            logger.info("Redis %s answers", self._name)

    def delConnection(self, conn: Any) -> None:
        """A connection is gone."""
        if conn in self.pool:
            super().delConnection(conn)
            self._say_if_lost()

    def break_off(self) -> None:
        """Trust none of the connections any more, from this moment."""
        broken, self.pool, self.size = self.pool, [], 0
        for connection in broken:
            connection.transport.abortConnection()
        if broken:
            self._say_if_lost()

    def _say_if_lost(self) -> None:
        if not self.pool and not self.stopped:
            logger.warning("Redis %s is lost; going on without it", self._name)


class Shard:
    """One Redis server."""

    def __init__(
        self, name: str, config: RedisConfig, endpoint: IStreamClientEndpoint
    ) -> None:
        self.name = name
        self._endpoint = endpoint
        self._factory = Factory(name, config, _CONNECTIONS)
        self._next = 0
        self._pending = 0

    @property
    def is_up(self) -> bool:
        """Whether it answered lately."""
        return bool(self._factory.pool)

    def start(self) -> None:
        """Connect, now and whenever the connections are lost."""
        self._factory.startConnecting(self._endpoint)

    def stop(self) -> Deferred[None]:
        """Close the connections."""
        stopping: Deferred[None] = self._factory.disconnect()
        return stopping

    async def execute(self, *command: Argument) -> Any:
        """Run one command. Texts in the reply are bytes.

        Raises:
            RedisUnavailable: at once when the server is known to be away, after
                `REPLY_SECONDS` when it falls silent now.
        """
        pool = self._factory.pool
        if not pool or self._pending >= _MAX_PENDING:
            raise RedisUnavailable(f"Redis {self.name} is not there")
        self._next = (self._next + 1) % len(pool)
        self._pending += 1
        try:
            return await pool[self._next].execute_command(*command)
        except txredisapi.ConnectionError as error:
            # One that fell silent has the others fall silent too.
            self._factory.break_off()
            raise RedisUnavailable(f"Redis {self.name}: {error}") from error
        except txredisapi.RedisError as error:
            # Such as OOM, LOADING or READONLY.
            raise RedisUnavailable(f"Redis {self.name}: {error}") from error
        finally:
            self._pending -= 1


class Redis:
    """The servers of ``redis.shards``; each key lives on one of them.

    Which one is the server with the highest hash of its name and the key: adding or
    removing a server moves only the keys of that one. A server that is away is not
    stood in for, so nothing old can come back with it.

    Args:
        config: ``redis``.
        reactor: The reactor.
    """

    def __init__(self, config: RedisConfig, reactor: Any) -> None:
        self.config = config
        self.shards: Sequence[Shard] = tuple(
            Shard(shard.name, config, endpoint_of(config, shard.addr, reactor))
            for shard in config.shards
        )

    def start(self) -> None:
        """Connect. Nothing waits for it."""
        for shard in self.shards:
            shard.start()

    async def stop(self) -> None:
        """Close all connections."""
        await gatherResults([shard.stop() for shard in self.shards])

    def shard_of(self, key: str) -> Shard:
        """Where a key lives."""
        if len(self.shards) == 1:
            return self.shards[0]
        return max(
            self.shards,
            key=lambda shard: hashlib.sha1(
                f"{shard.name}\0{key}".encode(), usedforsecurity=False
            ).digest(),
        )


def endpoint_of(
    config: RedisConfig, address: str, reactor: Any
) -> IStreamClientEndpoint:
    """Where a server listens."""
    return trusted_endpoint(
        reactor,
        address,
        timeout_s=_CONNECT_SECONDS,
        tls=config.tls,
        ca_path=config.ca_path,
    )
