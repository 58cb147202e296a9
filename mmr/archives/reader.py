"""Reading parts of an archive that somebody gave us, as they arrive (R77).

Bytes go in, events come out; nothing is written anywhere, and nothing is larger in
memory than what is read at once. All of it costs CPU: see `part_process`.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from mmr.archives.tar import (
    BLOCK,
    MAX_EXTENSION,
    Head,
    Kind,
    read_head,
    with_extension,
    with_name,
)
from mmr.archives.unpack import ArchiveError, Unpacker

MAX_ENTRIES = 1_000_000
"""Of one part."""
MAX_NAME = 4096
SMALL_BYTES = 256 * 1024
"""An entry up to this size comes in one event."""

_READ_BYTES = 1024 * 1024


@attrs.frozen(slots=True)
class Small:
    """An entry, whole. Its name is a key: whatever it says, no file gets it."""

    name: str
    data: bytes


@attrs.frozen(slots=True)
class Large:
    """An entry begins; its bytes come as `Piece`, then `End`."""

    name: str
    size: int


@attrs.frozen(slots=True)
class Piece:
    """Bytes of a large entry."""

    data: bytes


@attrs.frozen(slots=True)
class End:
    """The large entry is whole."""


@attrs.frozen(slots=True)
class Refused:
    """An entry that nobody should put into an archive."""

    name: str
    reason: str


Event = Small | Large | Piece | End | Refused


class PartReader:
    """Reads one part, a tar wrapped in gzip."""

    def __init__(self) -> None:
        self._unpacker = Unpacker()
        # Unpacked bytes, and how many of them are done with.
        self._window = b""
        self._at = 0
        self._entries = 0
        self._next_step: Callable[[], bool] = self._read_head
        self._events: list[Event] = []
        self._fault: ArchiveError | None = None
        # What was said about the next entry, and the entry under way.
        self._extension = b""
        self._long_name = b""
        self._head: Head | None = None
        self._left = 0

    @property
    def wants_input(self) -> bool:
        """Whether `read` gives nothing before there is more to `feed`."""
        return self._unpacker.wants_input and self._fault is None

    def feed(self, data: bytes) -> None:
        """Take in what comes next of the file."""
        self._unpacker.feed(data)

    def read(self) -> list[Event]:
        """What is in the next mebibyte or so.

        Raises:
            ArchiveError: the rest can't be read. What came before is as good as ever.
        """
        if self._fault is not None:
            raise self._fault
        self._window = self._window[self._at :] + self._unpacker.read(_READ_BYTES)
        self._at = 0
        try:
            while self._next_step():
                pass
        except ArchiveError as error:
            self._fault = error
        events, self._events = self._events, []
        return events

    def finish(self) -> None:
        """The file ends here.

        Raises:
            ArchiveError: too early.
        """
        self._unpacker.finish()
        is_between = self._next_step == self._read_head and not self._rest
        if not is_between and self._next_step != self._pass_end:
            raise ArchiveError("the tar inside ends too early")

    @property
    def _rest(self) -> int:
        return len(self._window) - self._at

    def _take(self, count: int) -> bytes:
        data = self._window[self._at : self._at + count]
        self._at += count
        return data

    # Each step tells whether it got on; if not, it is tried again with more bytes.

    def _read_head(self) -> bool:
        if self._rest < BLOCK:
            return False
        head = read_head(self._take(BLOCK))
        if head is None:
            self._next_step = self._pass_end
            return True
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise ArchiveError(f"it has more than {MAX_ENTRIES} entries")
        if head.kind in (Kind.NAME, Kind.EXTENSION):
            if head.size > MAX_EXTENSION:
                raise ArchiveError("an extended header is too long")
            self._head, self._next_step = head, self._read_extension
        elif head.kind is Kind.IGNORED:
            self._skip(head.size + head.padding)
        else:
            self._begin(self._described(head))
        return True

    def _read_extension(self) -> bool:
        assert self._head is not None
        size, padding = self._head.size, self._head.padding
        if self._rest < size + padding:
            return False
        if self._head.kind is Kind.NAME:
            self._long_name = self._take(size)
        else:
            self._extension = self._take(size)
        self._skip(padding)
        return True

    def _described(self, head: Head) -> Head:
        """The head with what was said about it before."""
        name, extension = self._long_name, self._extension
        self._long_name = self._extension = b""
        if name:
            head = with_name(head, name)
        return with_extension(head, extension) if extension else head

    def _begin(self, head: Head) -> None:
        self._head = head
        reason = _reason_to_refuse(head)
        if reason is not None:
            self._events.append(Refused(head.name[:MAX_NAME], reason))
        if reason is not None or head.kind is not Kind.FILE:
            self._skip(head.size + head.padding)
        elif head.size <= SMALL_BYTES:
            self._next_step = self._read_small
        else:
            self._events.append(Large(_key(head), head.size))
            self._left = head.size
            self._next_step = self._read_large

    def _read_small(self) -> bool:
        assert self._head is not None
        size, padding = self._head.size, self._head.padding
        if self._rest < size + padding:
            return False
        self._events.append(Small(_key(self._head), self._take(size)))
        self._skip(padding)
        return True

    def _read_large(self) -> bool:
        assert self._head is not None
        if not self._rest:
            return False
        data = self._take(min(self._left, self._rest))
        self._left -= len(data)
        self._events.append(Piece(data))
        if not self._left:
            self._events.append(End())
            self._skip(self._head.padding)
        return True

    def _skip(self, count: int) -> None:
        self._left = count
        self._next_step = self._pass_over

    def _pass_over(self) -> bool:
        passed = min(self._left, self._rest)
        self._at += passed
        self._left -= passed
        if self._left:
            return False
        self._next_step = self._read_head
        return True

    def _pass_end(self) -> bool:
        """Tar fills its last record up; what is there counts for the checksum only."""
        self._at = len(self._window)
        return False


def _key(head: Head) -> str:
    """Who packs a folder again gets names that begin so."""
    return head.name.removeprefix("./")


def _reason_to_refuse(head: Head) -> str | None:
    if head.kind is Kind.REFUSED:
        return "it is a link, a device or the like, not a file"
    if len(head.name) > MAX_NAME:
        return f"its name is longer than {MAX_NAME} characters"
    return None
