"""``index.html`` of an archive: a page to look through it with a browser."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, BinaryIO
from urllib.parse import quote

from jinja2 import Environment, PackageLoader

from mmr.archives.manifest import MediaEntry

INDEX_NAME = "index.html"
"""The entry of the archive that holds the page."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_DAYS = "Mon Tue Wed Thu Fri Sat Sun".split()
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
# The year 9999: whatever an old row says, it can be shown.
_MAX_SECONDS = 253_402_300_799


class IndexWriter:
    """Writes the page, some rows at a time.

    Args:
        file: Where to; stays open.
        entity_id: Whose media it is.
    """

    def __init__(self, file: BinaryIO, entity_id: str) -> None:
        self._parts = _macros()
        self._file = file
        self._write(self._parts.head(entity_id))

    def add(self, entries: Iterable[MediaEntry]) -> None:
        """Append rows."""
        self._write(self._parts.rows([_shown(entry) for entry in entries]))

    def close(self) -> None:
        """Write the end."""
        self._write(self._parts.foot())

    def _write(self, text: str) -> None:
        # Names come from everywhere: halves of characters can't be written.
        self._file.write(text.encode("utf-8", "replace"))


def _macros() -> Any:
    """The template's macros as attributes."""
    environment = Environment(
        loader=PackageLoader("mmr.archives"), autoescape=True, trim_blocks=True
    )
    return environment.get_template("export_index.html").module


def _shown(entry: MediaEntry) -> dict[str, str]:
    return {
        # Without the dot the origin's port would make a scheme of the origin.
        "href": "./" + quote(entry.file_name, errors="replace"),
        "name": entry.name,
        "mxc": str(entry.mxc),
        "size": readable_size(entry.size_bytes),
        "uploaded": unix_date(entry.created_ts),
    }


def readable_size(size_bytes: int) -> str:
    """Such as ``1.5 MB``, in powers of 1000."""
    size, power = float(size_bytes), 0
    while size >= 999.5 and power < len(_UNITS) - 1:
        size, power = size / 1000, power + 1
    digits = 1 if power and size < 9.95 else 0
    return f"{size:.{digits}f} {_UNITS[power]}"


def unix_date(ts_ms: int) -> str:
    """A time in ms as ``date`` shows it, in UTC, whatever the locale."""
    at = time.gmtime(min(max(ts_ms // 1000, 0), _MAX_SECONDS))
    return (
        f"{_DAYS[at.tm_wday]} {_MONTHS[at.tm_mon - 1]} {at.tm_mday:2} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} UTC {at.tm_year}"
    )
