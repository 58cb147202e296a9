"""A remote file on its way in, which is on its way out already (design §4).

Bytes go into the datastore's temporary file, and every client reads them from there at
its own pace. So memory grows neither with the file nor with the clients, and a slow
client slows nobody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from mmr.datastores.base import DatastoreFull, StoredObject
from mmr.errors import unavailable
from mmr.media.window import Window
from mmr.storage.media import MediaRecord
from mmr.util.clock import Clock

HELD_BACK_BYTES = 64 * 1024
"""Not given out before the hash and the hooks have passed (R87)."""
LINGER_SECONDS = 0.5
"""Without a client it goes on for so long: players hang up to ask for another part."""
# Each client of a fetch has one of these in memory at most.
_PIECE_BYTES = 64 * 1024


class Transfer:
    """One fetch, as those see it who wait for it.

    Attributes:
        content_type: As the remote server says. This and the next two are known once
            `begun` has returned.
        name: Likewise; empty when it says none.
        size: Bytes as announced; None when they weren't.
        record: The file's record, once it is kept. It stays None when it can't be.
        unwanted: Called when nobody waits any more (R66); None: it goes on.
    """

    def __init__(self, clock: Clock) -> None:
        self.unwanted: Callable[[], object] | None = None
        self._clock = clock
        self._clients = 0
        self._lingering: IDelayedCall | None = None
        self.content_type = ""
        self.name = ""
        self.size: int | None = None
        self.record: MediaRecord | None = None
        self._written: StoredObject | None = None
        self._available = 0
        self._is_over = False
        self._failure: Failure | None = None
        self._waiting: set[Deferred[None]] = set()
        self._readers: set[TransferReader] = set()
        self._window: Window | None = None
        self._not_kept: DatastoreFull | None = None

    # The fetch's side.

    def opened(self, content_type: str, name: str, size: int | None) -> None:
        """The remote server has begun to answer."""
        self.content_type, self.name, self.size = content_type, name, size

    def received(self, written: StoredObject, size_bytes: int) -> None:
        """So much is in the temporary file. Its end is held back."""
        self._written = written
        self._available = max(self._available, size_bytes - HELD_BACK_BYTES)
        self._wake()

    def goes_through(self, window: Window, why: DatastoreFull) -> None:
        """It won't be kept (R82): what came so far is in the window."""
        self._written = self._window = window
        self._not_kept = why
        self._wake()

    @property
    def slowest(self) -> TransferReader | None:
        """The client that has had the least; None when nobody reads."""
        return min(self._readers, key=lambda each: each.position, default=None)

    async def passed(self) -> None:
        """The file may go out to its end, but isn't kept."""
        assert self._window is not None
        self._available = self._window.end
        await self._end()

    async def kept(self, record: MediaRecord) -> None:
        """The file has passed and has a record: the rest may go out."""
        self.record = record
        self._available = record.size_bytes
        await self._end()

    async def failed(self, failure: Failure) -> None:
        """Nothing more will come: the clients' connections are broken off."""
        self._failure = failure
        await self._end()

    # The clients' side.

    @property
    def is_joinable(self) -> bool:
        """Whether the file can still be had from its start."""
        return self._window is None or self._window.is_whole

    async def begun(self) -> None:
        """Be a client: wait until there is something to give out, or the record.

        While there is no record the caller stays one until it has `finished` or closed
        its `reader`, and has to begin with one of these at once.

        Raises:
            MatrixError: the fetch has failed, and the client can still be told.
        """
        self._clients += 1
        try:
            while not self._available and not self._is_over:
                await self._change()
        except BaseException:
            self._leave()
            raise
        self._check()

    async def finished(self) -> MediaRecord:
        """Wait for the whole file.

        Raises:
            MatrixError: the fetch has failed, or the file isn't kept.
        """
        try:
            while not self._is_over and self._not_kept is None:
                await self._change()
        finally:
            self._leave()
        self._check()
        if self._not_kept is not None:
            raise self._not_kept.with_traceback(None)
        assert self.record is not None
        return self.record

    def reader(self) -> TransferReader:
        """All the bytes, as they come. To be called right after `begun`."""
        reader = TransferReader(self)
        self._readers.add(reader)
        return reader

    async def read_from(self, position: int) -> bytes:
        """What may be given out from there on; empty at the end.

        Raises:
            MatrixError: the fetch has failed on the way.
        """
        while position >= self._available and not self._is_over:
            await self._change()
        self._check()
        count = min(_PIECE_BYTES, self._available - position)
        if count <= 0:
            return b""
        assert self._written is not None
        return await self._written.read(position, count)

    async def reader_left(self, reader: TransferReader) -> None:
        """One reader less."""
        if reader in self._readers:
            self._readers.remove(reader)
            self._leave()
        await self._close_if_unused()

    def _leave(self) -> None:
        self._clients -= 1
        if not (self._clients or self._is_over or self._lingering):
            self._lingering = self._clock.call_later(LINGER_SECONDS, self._is_unwanted)

    def _is_unwanted(self) -> None:
        self._lingering = None
        if not self._clients and self.unwanted is not None:
            self.unwanted()

    def _check(self) -> None:
        if self._failure is not None:
            self._failure.raiseException()

    async def _change(self) -> None:
        waiter: Deferred[None] = Deferred(self._waiting.discard)
        self._waiting.add(waiter)
        await waiter

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        # Who is woken may make another leave.
        for waiter in list(waiting):
            if not waiter.called:
                waiter.callback(None)

    async def _end(self) -> None:
        self._is_over = True
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        self._wake()
        await self._close_if_unused()

    async def _close_if_unused(self) -> None:
        if self._is_over and not self._readers and self._written is not None:
            written, self._written = self._written, None
            await written.close()


class TransferReader(AsyncIterator[bytes]):
    """One client's way through the file.

    Attributes:
        position: What it has had.
    """

    def __init__(self, transfer: Transfer) -> None:
        self.position = 0
        self._transfer = transfer
        self._is_closed = False
        self._is_cut = False
        self._moving: Deferred[None] | None = None

    async def __anext__(self) -> bytes:
        if self._is_cut:
            raise unavailable("The client was too slow for media that can't be kept.")
        piece = await self._transfer.read_from(self.position)
        if not piece:
            raise StopAsyncIteration
        self.position += len(piece)
        self._moved()
        return piece

    async def aclose(self) -> None:
        """The client has it all, or has left."""
        if not self._is_closed:
            self._is_closed = True
            await self._transfer.reader_left(self)
            self._moved()

    async def moved(self) -> None:
        """Wait until it has had more, or has left. For one who waits."""
        self._moving = Deferred(lambda _: None)
        try:
            await self._moving
        finally:
            self._moving = None

    async def cut(self) -> None:
        """Give it no more: it holds up others."""
        self._is_cut = True
        await self._transfer.reader_left(self)

    def _moved(self) -> None:
        if self._moving is not None and not self._moving.called:
            self._moving.callback(None)
