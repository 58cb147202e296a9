"""Writing bodies that are larger than one write, at the client's pace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from mmr.http.request import MediaRequest

# Larger pieces hardly save CPU, but a slow client holds one in memory
# (performance.md §2).
PIECE_BYTES = 256 * 1024


class ShortBody(Exception):
    """A source gave another number of bytes than it promised."""


class ReadableObject(Protocol):
    """An open object of a datastore (`mmr.datastores.base.StoredObject`)."""

    async def read(self, offset: int, length: int) -> bytes:
        """Read at a place."""
        ...

    def fileno(self) -> int | None:
        """The descriptor, for objects that are files."""
        ...

    async def close(self) -> None:
        """Give it back."""
        ...


async def send_slice(request: MediaRequest, body: bytes) -> None:
    """Send bytes that are at hand."""
    for start in range(0, len(body), PIECE_BYTES):
        await request.write(body[start : start + PIECE_BYTES])


async def send_object(
    request: MediaRequest, source: ReadableObject, start: int, count: int
) -> None:
    """Send a part of an object: by the kernel where it can, else piece by piece.

    Raises:
        ShortBody: the object ends early.
    """
    descriptor = source.fileno()
    if descriptor is not None and request.can_send_file:
        await request.send_file(descriptor, start, count)
        return
    end = start + count
    while start < end:
        data = await source.read(start, min(PIECE_BYTES, end - start))
        if not data:
            raise ShortBody(f"{end - start} of {count} bytes are missing")
        start += len(data)
        await request.write(data)


async def send_iterator(
    request: MediaRequest, source: AsyncIterator[bytes], size: int | None
) -> None:
    """Send what an iterator gives.

    Raises:
        ShortBody: it isn't as much as was promised.
    """
    sent = 0
    async for data in source:
        sent += len(data)
        if size is not None and sent > size:
            raise ShortBody(f"more than the promised {size} bytes")
        await request.write(data)
    if size is not None and sent < size:
        raise ShortBody(f"{sent} instead of {size} bytes")
