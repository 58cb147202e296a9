"""What processes tell each other: a media came, a record changed, a user logged out.

Messages say only that something is so; handling one twice, or without need, harms
nobody. A process that may have missed one is told so, and forgets what it remembers.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    FirstError,
    gatherResults,
)
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

# MMR's (mmr-http-api §12.4).
MEDIA_UPLOADED = "mmr:upload_mxc"
"""An MXC URI: an upload that downloads may wait for has ended."""
TASK_QUEUED = "mmr:bg_tasks"
"""A task id in decimal: the process with machine id 0 runs it."""
# Ours.
RECORD_CHANGED = "mmr:record_changed"
"""An MXC URI: its record, or one of its thumbnails', was changed or deleted."""
CONTENT_REMOVED = "mmr:content_removed"
"""A SHA-256 in hex: content that may not be served any more."""
CONTENT_PURGED = "mmr:content_purged"
"""A SHA-256 in hex: content that nothing refers to any more. It may come back."""
USER_LOGGED_OUT = "mmr:user_logged_out"
"""A user id: its tokens are to be asked about again."""
ALL_CHANGED = "mmr:all_changed"
"""No payload: forget everything."""

CHANNELS = (
    MEDIA_UPLOADED,
    TASK_QUEUED,
    RECORD_CHANGED,
    CONTENT_REMOVED,
    CONTENT_PURGED,
    USER_LOGGED_OUT,
    ALL_CHANGED,
)
# These are heard of some other way as well, only later: their listeners poll.
_HINTS = frozenset({MEDIA_UPLOADED, TASK_QUEUED})

# How often one who can't hear forgets everything. Others' changes show within twice
# this, which has to stay below the 5 s of R84.
_DEAF_SECONDS = 2.0
_RETRY_SECONDS = 0.5
_MAX_WAITING = 10_000
_BATCH = 100

Deliver = Callable[[str, str], None]
"""Called with a channel and its payload."""


class Transport(Protocol):
    """One way for messages to reach the other processes."""

    @property
    def is_live(self) -> bool:
        """Whether what others send this way is heard here now."""
        ...

    def start(self, deliver: Deliver, gap: Callable[[], None]) -> None:
        """Listen.

        Args:
            deliver: For each message.
            gap: Called after each time in which messages may have been missed.
        """
        ...

    async def stop(self) -> None:
        """End it."""
        ...

    async def publish(self, channel: str, payload: str) -> bool:
        """Send a message. False: it can't be sent this way now."""
        ...


class Bus:
    """Sends by every transport that works, and hears by each.

    One process alone, without a transport, keeps its own counsel.

    Args:
        transports: The quickest first.
        clock: For the pauses.
    """

    def __init__(self, transports: Sequence[Transport], clock: Clock) -> None:
        self._transports = transports
        self._clock = clock
        self._handlers: dict[str, list[Callable[[str], object]]] = {}
        self._gap_handlers: list[Callable[[], object]] = []
        # A set in the order of arrival: a message that still waits says it all.
        self._outbox: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._sending: Deferred[None] | None = None
        self._deaf_alarm: IDelayedCall | None = None
        self._is_running = False

    def on(self, channel: str, handler: Callable[[str], object]) -> None:
        """Have a channel's payloads handled. One's own messages come back too."""
        self._handlers.setdefault(channel, []).append(handler)

    def on_gap(self, handler: Callable[[], object]) -> None:
        """Have this called when messages may have been missed."""
        self._gap_handlers.append(handler)

    def start(self) -> None:
        """Listen, and send."""
        self._is_running = True
        for transport in self._transports:
            transport.start(self._deliver, self._missed)
        if self._transports:
            self._deaf_alarm = self._clock.call_later(_DEAF_SECONDS, self._check_ears)

    async def stop(self) -> None:
        """Send nothing more, hear nothing more."""
        self._is_running = False
        if self._deaf_alarm is not None:
            self._deaf_alarm.cancel()
            self._deaf_alarm = None
        sending = self._sending
        if sending is not None:
            # It clears the attribute when it ends.
            sending.cancel()
            await sending
        for transport in self._transports:
            await transport.stop()

    def publish(self, channel: str, payload: str = "") -> None:
        """Tell the others, soon. Doesn't wait, and never fails."""
        if not self._transports or not self._is_running:
            return
        if len(self._outbox) >= _MAX_WAITING:
            self._outbox.clear()
            channel, payload = ALL_CHANGED, ""
        self._outbox[channel, payload] = None
        if self._sending is None:
            self._sending = sending = Deferred.fromCoroutine(self._send())
            if sending.called:
                self._sending = None

    async def _send(self) -> None:
        try:
            while self._outbox:
                batch = list(self._outbox)[:_BATCH]
                results = await gatherResults(
                    [Deferred.fromCoroutine(self._send_one(*each)) for each in batch],
                    consumeErrors=True,
                )
                if not all(results):
                    await self._clock.sleep(_RETRY_SECONDS)
        except CancelledError:
            pass
        except FirstError as error:
            # Those that were being sent are cancelled together with us.
            if not _is_cancelled(error.subFailure):
                raise
        finally:
            self._sending = None

    async def _send_one(self, channel: str, payload: str) -> bool:
        """Send by all transports, or a mere hint by the first that works."""
        message = channel, payload
        # Out before it is sent: if the same is said again meanwhile, that is news.
        del self._outbox[message]
        sent = False
        for transport in self._transports:
            sent = await transport.publish(channel, payload) or sent
            if sent and channel in _HINTS:
                break
        if not sent and channel not in _HINTS:
            self._outbox[message] = None
        return sent

    def _deliver(self, channel: str, payload: str) -> None:
        if channel == ALL_CHANGED:
            self._missed()
        for handler in self._handlers.get(channel, ()):
            try:
                handler(payload)
            except Exception:
                logger.exception("Handling %s %r failed", channel, payload[:300])

    def _missed(self) -> None:
        for handler in self._gap_handlers:
            handler()

    def _check_ears(self) -> None:
        if not any(transport.is_live for transport in self._transports):
            self._missed()
        self._deaf_alarm = self._clock.call_later(_DEAF_SECONDS, self._check_ears)


def _is_cancelled(failure: Failure) -> bool:
    """Whether a cancelled wait is behind a failure, however deep."""
    while isinstance(failure.value, FirstError):
        failure = failure.value.subFailure
    return failure.check(CancelledError) is not None
