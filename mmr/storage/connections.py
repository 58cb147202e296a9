"""Connections that wait for their next use."""

from __future__ import annotations

import logging
import threading

from mmr.storage.engines.base import Connection, Engine

logger = logging.getLogger(__name__)


class ConnectionPool:
    """Hands connections to database threads, last used first.

    How many are open at once is bounded by the number of threads.

    Args:
        max_idle: Unused connections that are kept open.
    """

    def __init__(self, engine: Engine, max_idle: int) -> None:
        self._engine = engine
        self._max_idle = max_idle
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    def take(self) -> Connection:
        """An idle connection, else a new one.

        Raises:
            DatabaseUnavailable: when none can be opened.
        """
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._engine.connect()

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next one, unless it is broken or one too many."""
        if not self._engine.is_alive(connection):
            self.replace_all(connection)
            return
        with self._lock:
            if len(self._idle) < self._max_idle:
                self._idle.append(connection)
                return
        connection.close()

    def replace_all(self, broken: Connection) -> None:
        """Drop a broken connection and the idle ones, which are likely broken too."""
        logger.warning("A database connection broke; connecting again")
        broken.close()
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
