"""Connections that wait for another request to the same place."""

from __future__ import annotations

from collections.abc import Collection

from twisted.internet.interfaces import IDelayedCall

from mmr.http.guard.connection import GuardedConnection, Place
from mmr.util.clock import Clock

IDLE_SECONDS = 30.0
MAX_IDLE = 100
MAX_IDLE_PER_PLACE = 8


class IdleConnections:
    """Keeps connections that ended a response cleanly; bounded, for a short time.

    Args:
        clock: The time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Oldest first.
        self._idle: dict[GuardedConnection, IDelayedCall] = {}

    def __len__(self) -> int:
        return len(self._idle)

    def put(self, connection: GuardedConnection) -> None:
        """Keep a connection, in the place of the oldest if there is no more room."""
        same = [other for other in self._idle if other.place == connection.place]
        if len(same) >= MAX_IDLE_PER_PLACE:
            self._close(same[0])
        elif len(self._idle) >= MAX_IDLE:
            self._close(next(iter(self._idle)))
        call = self._clock.call_later(IDLE_SECONDS, self._close, connection)
        self._idle[connection] = call

    def take(self, places: Collection[Place]) -> GuardedConnection | None:
        """The most recently used connection to one of the places."""
        for connection in reversed(self._idle):
            if connection.place in places and connection.is_usable:
                self.forget(connection)
                return connection
        return None

    def forget(self, connection: GuardedConnection) -> None:
        """It is in use again, or gone."""
        call = self._idle.pop(connection, None)
        if call is not None and call.active():
            call.cancel()

    def close(self) -> None:
        """Close them all."""
        for connection in list(self._idle):
            self._close(connection)

    def _close(self, connection: GuardedConnection) -> None:
        self.forget(connection)
        connection.close()
