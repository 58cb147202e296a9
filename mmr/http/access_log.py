"""One line a request, laid out as Synapse's, so that its tools read ours (§1.7).

The lines don't go through `logging`: its formatter and handlers would cost a third of
a small download (performance.md §1).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from urllib.parse import unquote

from twisted.internet.interfaces import IDelayedCall

from mmr.http.request import MediaRequest
from mmr.logging import current_request
from mmr.logging.redact import one_line, redact
from mmr.util.clock import Clock

FLUSH_SECONDS = 0.5
_MAX_FIELD = 1024
_MAX_WAITING_LINES = 500


class AccessLog:
    """Writes a line for each request that is over.

    Args:
        write: Takes text that ends in a newline; called from the reactor, at most
            every half second or every 500 lines.
        tag: The listener's name, such as its port.
        clock: Time and timers.
        as_json: One JSON object a line instead.
        as_messages: Lines without time and logger, which somebody else puts before.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        tag: str,
        clock: Clock,
        as_json: bool = False,
        as_messages: bool = False,
    ) -> None:
        self._write = write
        self._tag = tag
        self._clock = clock
        self._logger = f"mmr.access.http.{tag}"
        self._format = self._json if as_json else self._text
        if as_messages:
            self._format = self._bare
        self._lines: list[str] = []
        self._timer: IDelayedCall | None = None
        self._second = -1
        self._second_text = ""

    def log(self, request: MediaRequest) -> None:
        """Note that the request is over."""
        message = self._message(request)
        self._lines.append(self._format(request.request_id, message))
        if len(self._lines) >= _MAX_WAITING_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.call_later(FLUSH_SECONDS, self._on_timer)

    def flush(self) -> None:
        """Write the lines that wait."""
        lines, self._lines = self._lines, []
        if lines:
            self._write("".join(lines))

    def stop(self) -> None:
        """Write what waits; nothing is left to be called later."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self.flush()

    def _on_timer(self) -> None:
        self._timer = None
        self.flush()

    def _message(self, request: MediaRequest) -> str:
        # The ru and dbevts fields stand still: they keep the parsers of Synapse's lines
        # working, but the CPU of threads and workers is not accounted to requests.
        info = current_request()
        db = f"{info.db_seconds:.3f}sec/{info.db_count}" if info else "0.000sec/0"
        done = self._clock.monotonic()
        asked = request.head.log_text
        if asked is None:
            asked = request.head.log_text = _asked(request)
        return (
            f"{request.client_address or 'unix'} - {self._tag} - "
            f"{{{_clean(request.requester.log_name)}}} Processed request: "
            f"{request.handled - request.started:.3f}sec/"
            f"{done - request.handled:.3f}sec ru=(0.000sec, 0.000sec) "
            f"db=(0.000sec/{db}) {request.sent_bytes}B "
            f"{request.status or 499}{'!' if request.is_gone else ''} "
            f"{asked} [0 dbevts]"
        )

    def _text(self, request_id: str, message: str) -> str:
        return (
            f"{self._time()} - {self._logger} - 0 - INFO - {request_id} - {message}\n"
        )

    def _bare(self, request_id: str, message: str) -> str:
        return f"{request_id} - {message}\n"

    def _json(self, request_id: str, message: str) -> str:
        event = {
            "time": self._time(),
            "level": "info",
            "msg": message,
            "logger": self._logger,
            "line": 0,
            "request": request_id,
        }
        return json.dumps(event, ensure_ascii=False) + "\n"

    def _time(self) -> str:
        second, milliseconds = divmod(self._clock.time_ms(), 1000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime(
                "%Y-%m-%d %H:%M:%S", time.localtime(second)
            )
        return f"{self._second_text},{milliseconds:03d}"


def _asked(request: MediaRequest) -> str:
    """The request line and the client's name for itself, each in quotes."""
    target = _loggable_target(request.target)
    agent = _loggable(request.header(b"user-agent") or b"-")
    version = "1.1" if request.head.is_http11 else "1.0"
    return f'"{request.method.decode("ascii")} {target} HTTP/{version}" "{agent}"'


def _loggable(value: bytes) -> str:
    """A client's bytes as a field: short, printable, without quotes and tokens."""
    text = value[:_MAX_FIELD].decode("ascii", "backslashreplace")
    if '"' in text:
        text = text.replace('"', "%22")
    return _clean(redact(text))


def _loggable_target(target: bytes) -> str:
    """The URL; the token's name may itself be percent-encoded (R42)."""
    text = _loggable(target)
    path, mark, query = text.partition("?")
    if "%" not in query:
        return text
    pairs = [pair.partition("=") for pair in query.split("&")]
    return f"{path}{mark}" + "&".join(
        f"{name}=<redacted>" if unquote(name) == "access_token" else name + eq + value
        for name, eq, value in pairs
    )


def _clean(text: str) -> str:
    return text if text.isprintable() else one_line(text)
