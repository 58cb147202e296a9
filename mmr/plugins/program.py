"""Programs that are asked over their standard input, one JSON object a line."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Hashable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from mmr.plugins.base import CheckFailed, FileInfo, FileToCheck
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

_MAX_LINE = 64 * 1024
# Between the end of a program and its next start.
_PAUSE_SECONDS = 1.0


class ProgramPlugin:
    """Keeps one child that answers, started with the first question.

    A child that ends is started again with the next question, though not at once. A
    question that is given up (its time was over) ends the child: it may hang.

    Args:
        path: The program.
        config: Sent to it first.
        clock: For the pause.
        reactor: Starts it.
    """

    def __init__(
        self, path: str, config: dict[str, Any], clock: Clock, reactor: Any
    ) -> None:
        self.name = f"Plugin {path}"
        self._path = path
        self._config = config
        self._clock = clock
        self._reactor = reactor
        self._child: _Child | None = None
        self._not_before = 0.0
        self._is_stopped = False

    def context(self, info: FileInfo) -> Hashable:
        """A program may look at anything but the id."""
        return info.origin, info.user_id, info.content_type, info.upload_name

    async def check(self, file: FileToCheck) -> bool:
        """See `Plugin.check`."""
        if self._child is None:
            self._start()
        assert self._child is not None
        info = file.info
        answer = await self._child.ask(
            {
                "path": str(file.path),
                "size": file.size,
                "sha256": file.sha256,
                "contentType": info.content_type,
                "filename": info.upload_name,
                "userId": info.user_id,
                "origin": info.origin,
                "mediaId": info.file_id,
                "isRemote": info.server_name is not None,
                "isPreview": info.url_cache,
            }
        )
        spam = answer.get("spam")
        if not isinstance(spam, bool):
            raise CheckFailed(str(answer.get("error", "no verdict in the answer")))
        return spam

    async def stop(self) -> None:
        """See `Plugin.stop`."""
        self._is_stopped = True
        if self._child is not None:
            self._child.end()
            await self._child.ended

    def _start(self) -> None:
        if self._is_stopped:
            raise CheckFailed("it was stopped")
        now = self._clock.monotonic()
        if now < self._not_before:
            raise CheckFailed("it ended, and is not started again yet")
        self._not_before = now + _PAUSE_SECONDS
        child = _Child(self.name, self._clock, self._ended)
        try:
            # Our own environment may hold secrets.
            environment = {
                "PATH": os.environ.get("PATH", os.defpath),
                "LANG": "C.UTF-8",
            }
            self._reactor.spawnProcess(child, self._path, [self._path], environment)
        except OSError as error:
            raise CheckFailed(f"it can't be started: {error}") from error
        child.send({"config": self._config})
        self._child = child

    def _ended(self, child: _Child) -> None:
        if self._child is child:
            self._child = None
            self._not_before = self._clock.monotonic() + _PAUSE_SECONDS


class _Child(ProcessProtocol):
    """One run of the program."""

    transport: Any

    def __init__(self, name: str, clock: Clock, ended: Any) -> None:
        self._name = name
        self._clock = clock
        self._on_end = ended
        self._buffer = b""
        self._next = 0
        self._waiting: dict[int, Deferred[dict[str, Any]]] = {}
        self._kill: IDelayedCall | None = None
        self.ended: Deferred[None] = Deferred(lambda _: None)

    def send(self, message: dict[str, Any]) -> None:
        self.transport.write(json.dumps(message).encode() + b"\n")

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        self._next += 1
        number = self._next

        def give_up(_: Any) -> None:
            self._waiting.pop(number, None)
            self.end(at_once=True)

        answer: Deferred[dict[str, Any]] = Deferred(give_up)
        self._waiting[number] = answer
        self.send({"id": number, **question})
        return await answer

    def end(self, *, at_once: bool = False) -> None:
        """Close its input; kill it when it doesn't end by itself."""
        self.transport.loseConnection()
        if self._kill is None:
            self._kill = self._clock.call_later(0 if at_once else 2, self._kill_now)

    def _kill_now(self) -> None:
        if self.transport.pid is not None:
            self.transport.signalProcess("KILL")

    def outReceived(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > _MAX_LINE:
            logger.error("%s writes a line without an end", self._name)
            self._buffer = b""
            self.end(at_once=True)
        for line in lines:
            self._answered(line)

    def _answered(self, line: bytes) -> None:
        try:
            answer = json.loads(line)
            waiting = self._waiting.pop(answer["id"])
        except (ValueError, TypeError, LookupError):
            logger.error("%s answers what wasn't asked: %r", self._name, line[:200])
            self.end(at_once=True)
            return
        waiting.callback(answer)

    def errReceived(self, data: bytes) -> None:
        logger.info("%s: %s", self._name, data[:2000].decode("utf-8", "replace"))

    def processEnded(self, reason: Failure) -> None:
        if self._kill is not None and self._kill.active():
            self._kill.cancel()
        elif self._kill is None:
            level = logging.INFO if reason.check(ProcessDone) else logging.ERROR
            logger.log(level, "%s ended: %s", self._name, reason.getErrorMessage())
        self._on_end(self)
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.errback(CheckFailed("the program ended"))
        self.ended.callback(None)
