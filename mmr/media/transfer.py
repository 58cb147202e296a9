"""A remote file on its way in, which is on its way out already (design §4).

Bytes go into the datastore's temporary file, and every client reads them from there at
its own pace. So memory grows neither with the file nor with the clients, and a slow
client slows nobody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mmr.datastores.base import StoredObject
from mmr.storage.media import MediaRecord

HELD_BACK_BYTES = 64 * 1024
"""Not given out before the hash and the hooks have passed (R87)."""
# Each client of a fetch has one of these in memory at most.
_PIECE_BYTES = 64 * 1024


class Transfer:
    """One fetch, as those see it who wait for it.

    Attributes:
        content_type: As the remote server says. This and the next two are known once
            `begun` has returned.
        name: Likewise; empty when it says none.
        size: Bytes as announced; None when they weren't.
        record: The file's record, once it is kept.
    """

    def __init__(self) -> None:
        self.content_type = ""
        self.name = ""
        self.size: int | None = None
        self.record: MediaRecord | None = None
        self._written: StoredObject | None = None
        self._available = 0
        self._is_over = False
        self._failure: Failure | None = None
        self._waiting: set[Deferred[None]] = set()
        self._readers = 0

    # The fetch's side.

    def opened(self, content_type: str, name: str, size: int | None) -> None:
        """The remote server has begun to answer."""
        self.content_type, self.name, self.size = content_type, name, size

    def received(self, written: StoredObject, size_bytes: int) -> None:
        """So much is in the temporary file. Its end is held back."""
        self._written = written
        self._available = max(self._available, size_bytes - HELD_BACK_BYTES)
        self._wake()

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

    async def begun(self) -> None:
        """Wait until there is something to give out, or the record.

        Raises:
            MatrixError: the fetch has failed, and the client can still be told.
        """
        while not self._available and not self._is_over:
            await self._change()
        self._check()

    async def finished(self) -> MediaRecord:
        """Wait for the whole file.

        Raises:
            MatrixError: the fetch has failed.
        """
        while not self._is_over:
            await self._change()
        self._check()
        assert self.record is not None
        return self.record

    def reader(self) -> TransferReader:
        """All the bytes, as they come. To be called right after `begun`."""
        self._readers += 1
        return TransferReader(self)

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

    async def reader_left(self) -> None:
        """One reader less."""
        self._readers -= 1
        await self._close_if_unused()

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
        self._wake()
        await self._close_if_unused()

    async def _close_if_unused(self) -> None:
        if self._is_over and not self._readers and self._written is not None:
            written, self._written = self._written, None
            await written.close()


class TransferReader(AsyncIterator[bytes]):
    """One client's way through the file."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._position = 0
        self._is_closed = False

    async def __anext__(self) -> bytes:
        piece = await self._transfer.read_from(self._position)
        if not piece:
            raise StopAsyncIteration
        self._position += len(piece)
        return piece

    async def aclose(self) -> None:
        """The client has it all, or has left."""
        if not self._is_closed:
            self._is_closed = True
            await self._transfer.reader_left()
