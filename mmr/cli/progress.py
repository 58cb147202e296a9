"""How far a program is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

_BAR = 30
_TERMINAL_SECONDS = 0.1
_LOG_SECONDS = 10.0
# The rate is that of the last so many lines shown: what was skipped at the beginning
# says nothing of the rest.
_RECENT = 50
_MINUTE, _HOUR = 60, 3600


class ProgressBar:
    """Counts up to a number that is a guess.

    Args:
        title: What is being done.
        total: How much there is; 0 when nobody knows.
        out: Where to; standard output is for results.
        now: Seconds that never go back.
    """

    def __init__(
        self,
        title: str,
        total: int,
        out: TextIO = sys.stderr,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._total = total
        self._out = out
        self._now = now
        self._done = 0
        self._is_terminal = out.isatty()
        self._pause = _TERMINAL_SECONDS if self._is_terminal else _LOG_SECONDS
        self._shown_at = now()
        self._recent = deque([(self._shown_at, 0)], maxlen=_RECENT)

    def add(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        now = self._now()
        if now - self._shown_at >= self._pause:
            self._shown_at = now
            self._recent.append((now, self._done))
            self._show("" if self._is_terminal else "\n", self._speed())

    def clear(self) -> None:
        """Make room for a line of results."""
        if self._is_terminal:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def finish(self) -> None:
        """Show the end."""
        self._show("\n")

    def _speed(self) -> str:
        """How many a second of late, and how long the rest takes at that rate."""
        (began, before), (now, done) = self._recent[0], self._recent[-1]
        rate = (done - before) / (now - began)
        text = f", {rate:.3g} a second"
        if rate > 0 and self._done < self._total:
            text += f", {_duration((self._total - self._done) / rate)} left"
        return text

    def _show(self, after: str, speed: str = "") -> None:
        text = f"{self._title}: {self._done}"
        if self._total:
            share = min(1.0, self._done / self._total)
            text += f" of about {self._total} ({share:.0%})"
            if self._is_terminal:
                text = f"[{'#' * int(_BAR * share):<{_BAR}}] {text}"
        text += speed
        if self._is_terminal:
            text = f"\r{text}\x1b[K"
        self._out.write(text + after)
        self._out.flush()


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"
