"""Tables and numbers: for people on a terminal, for programs in a pipe."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from typing import TextIO

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

Cell = str | int


class Printer:
    """Prints aligned columns to a terminal, and tabs with plain numbers elsewhere.

    Args:
        out: Where to.
    """

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self.is_terminal = out.isatty()

    def line(self, text: str) -> None:
        """One line."""
        print(printable(text), file=self._out)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Rows under a head; numbers are aligned to the right."""
        texts = [head, *([printable(str(cell)) for cell in row] for row in rows)]
        if not self.is_terminal:
            for row in texts:
                print("\t".join(row), file=self._out)
            return
        widths = [max(len(row[at]) for row in texts) for at in range(len(head))]
        numeric = [
            all(str(row[at])[:1].isdigit() for row in rows) for at in range(len(head))
        ]
        for row in texts:
            cells = (
                text.rjust(width) if right else text.ljust(width)
                for text, width, right in zip(row, widths, numeric, strict=True)
            )
            print("  ".join(cells).rstrip(), file=self._out)

    def size(self, count: int) -> Cell:
        """A number of bytes."""
        return readable_size(count) if self.is_terminal else count

    def time(self, ts: int) -> Cell:
        """A time in ms since the epoch."""
        return readable_time(ts) if self.is_terminal else ts


def printable(text: str) -> str:
    """Without control characters: names come from strangers, terminals obey."""
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def readable_size(count: int) -> str:
    """As ``1.5 MiB``."""
    size = float(count)
    for unit in _UNITS:
        if abs(size) < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def readable_time(ts: int) -> str:
    """In UTC, to the second."""
    if ts <= 0:
        return "-"
    moment = datetime.datetime.fromtimestamp(ts / 1000, datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S")
