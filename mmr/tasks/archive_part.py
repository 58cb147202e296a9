"""One part of an archive as a stream of what is wanted of it."""

from __future__ import annotations

import contextlib
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from typing import BinaryIO, Generic, TypeVar

import attrs

from twisted.internet.defer import CancelledError, Deferred

from mmr.archives.part_process import Found, Held, PartProcess
from mmr.archives.reader import End, Large, Piece, Refused
from mmr.archives.unpack import ArchiveError
from mmr.errors import MatrixError
from mmr.util.memory_file import FileSlice, Payload
from mmr.util.threads import Runner

T = TypeVar("T")

_PIECE_BYTES = 256 * 1024


@attrs.frozen(slots=True)
class Wanted(Generic[T]):
    """An entry that something wants.

    Attributes:
        data: All of it; None for a large one: see `PartStream.pieces`.
    """

    by: T
    size: int
    data: FileSlice | None


class PartStream(Generic[T]):
    """What a part has, unpacked in a process while others are dealt with.

    Args:
        process: Unpacks it. It is this stream's until `close`.
        chunks: The bytes of the part.
        find: Says what wants some entries, given names and sizes. Those that nothing
            wants are left out. Called in a pool thread.
    """

    def __init__(
        self,
        process: PartProcess,
        chunks: AsyncIterator[Payload],
        find: Callable[[Collection[tuple[str, int]]], dict[str, T]],
        threads: Runner,
    ) -> None:
        self._chunks = chunks
        self._find = find
        self._threads = threads
        self._process = process
        self._number = process.begin()
        # What the process does while others deal with what it did before.
        self._ahead: Deferred[None] | None = None
        # Not the Deferred's result: it may lie there until garbage is collected.
        self._found: list[Found] = []
        self._events: deque[Wanted[T] | Piece | End | Refused] = deque()
        self._is_all_read = False
        self._is_over = False
        self._is_stopped = False
        # All of the large entry that came last was given out.
        self._passed: Deferred[None] = Deferred()

    def __aiter__(self) -> AsyncIterator[Wanted[T] | Refused]:
        return self

    async def __anext__(self) -> Wanted[T] | Refused:
        """The next entry. What is left of a large one is passed over.

        Raises:
            ArchiveError: the rest can't be read.
        """
        while True:
            event = await self._next()
            if event is None:
                raise StopAsyncIteration
            if isinstance(event, Wanted) and event.data is None:
                self._passed = Deferred()
            if not isinstance(event, Piece | End):
                return event

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes of the large entry that came last."""
        while True:
            event = await self._next()
            if not isinstance(event, Piece):
                _fire(self._passed)
                return
            yield event.data

    async def passed(self, taker: Deferred[None]) -> None:
        """Wait until somebody else has all `pieces`, or wants no more of them.

        Args:
            taker: Fires when it has ended.
        """
        passed = self._passed
        # It may end long after the next entry has begun.
        taker.addBoth(lambda _: _fire(passed))
        await passed

    def stop(self) -> None:
        """Let whoever takes `pieces` get no more of them, but `CancelledError`."""
        self._is_stopped = True

    async def settle(self) -> None:
        """Let the process end what it is at, and maybe the part with that.

        What goes wrong is met by whoever reads the part again.
        """
        with contextlib.suppress(ArchiveError, MatrixError, OSError):
            await self._fetch()

    async def close(self) -> None:
        """What hasn't been read, nobody wants any more."""
        if self._ahead is not None:
            self._ahead.addErrback(lambda _: None)
            self._ahead.cancel()
        if not self._is_over:
            await self._threads.run(self._process.end)

    async def _next(self) -> Wanted[T] | Piece | End | Refused | None:
        if self._is_stopped:
            raise CancelledError
        while not self._events:
            if self._is_over:
                return None
            self._events.extend(await self._fetch())
        return self._events.popleft()

    async def _fetch(self) -> list[Wanted[T] | Piece | End | Refused]:
        """What comes out next, maybe nothing."""
        reading, self._ahead = self._ahead or self._read_on(), None
        await reading
        events, self._found = self._found, []
        if self._is_all_read and self._process.wants_input:
            self._is_over = True
        else:
            self._ahead = self._read_on()
        return await self._threads.run(self._sort, events)

    def _read_on(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._read())

    async def _read(self) -> None:
        packed: Payload = b""
        if self._process.wants_input and not self._is_all_read:
            try:
                packed = await anext(self._chunks)
            except StopAsyncIteration:
                self._is_all_read = True
        self._found = await self._threads.run(
            self._process.read,
            packed,
            is_end=self._is_all_read,
            number=self._number,
        )

    def _sort(self, events: list[Found]) -> list[Wanted[T] | Piece | End | Refused]:
        """Leave out what nothing wants. In a pool thread."""
        sizes = [
            (event.name, event.size if isinstance(event, Large) else len(event.data))
            for event in events
            if isinstance(event, Large | Held)
        ]
        wanted = self._find(sizes) if sizes else {}
        return [
            found for event in events if (found := _found(event, wanted)) is not None
        ]


def _fire(passed: Deferred[None]) -> None:
    if not passed.called:
        passed.callback(None)


def _found(
    event: Found, wanted: dict[str, T]
) -> Wanted[T] | Piece | End | Refused | None:
    """An event as it is told; None: nobody wants it."""
    if not isinstance(event, Held | Large):
        return event
    # A second entry of that name is of no use.
    by = wanted.pop(event.name, None)
    if by is None:
        return None
    if isinstance(event, Large):
        return Wanted(by, event.size, None)
    return Wanted(by, len(event.data), event.data)


@contextlib.asynccontextmanager
async def spooled(
    pieces: AsyncIterator[bytes], threads: Runner
) -> AsyncIterator[BinaryIO]:
    """Keep bytes in a file without a name for as long as they are needed."""
    file: BinaryIO = await threads.run(tempfile.TemporaryFile)
    try:
        async for piece in pieces:
            await threads.run(file.write, piece)
        yield file
    finally:
        await threads.run(file.close)


async def read_again(file: BinaryIO, threads: Runner) -> AsyncIterator[bytes]:
    """The bytes of a file, from its beginning."""
    await threads.run(file.seek, 0)
    while piece := await threads.run(file.read, _PIECE_BYTES):
        yield piece
