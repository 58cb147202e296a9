"""How far a program is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_BAR = 30
_TERMINAL_SECONDS = 0.1
_LOG_SECONDS = 10.0


class ProgressBar:
    """Counts up to a number that is a guess.

    Args:
        title: What is being done.
        total: How much there is; 0 when nobody knows.
        out: Where to; standard output is for results.
    """

    def __init__(self, title: str, total: int, out: TextIO = sys.stderr) -> None:
        self._title = title
        self._total = total
        self._out = out
        self._done = 0
        self._is_terminal = out.isatty()
        self._pause = _TERMINAL_SECONDS if self._is_terminal else _LOG_SECONDS
        self._shown_at = time.monotonic()

    def add(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        now = time.monotonic()
        if now - self._shown_at >= self._pause:
            self._shown_at = now
            self._show("" if self._is_terminal else "\n")

    def clear(self) -> None:
        """Make room for a line of results."""
        if self._is_terminal:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def finish(self) -> None:
        """Show the end."""
        self._show("\n")

    def _show(self, after: str) -> None:
        text = f"{self._title}: {self._done}"
        if self._total:
            share = min(1.0, self._done / self._total)
            text += f" of about {self._total} ({share:.0%})"
            if self._is_terminal:
                text = f"[{'#' * int(_BAR * share):<{_BAR}}] {text}"
        if self._is_terminal:
            text = f"\r{text}\x1b[K"
        self._out.write(text + after)
        self._out.flush()
