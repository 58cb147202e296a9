"""Remote files go on to clients when there is no room to keep them (R82)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator

import attrs

from mmr.datastores.base import DatastoreFull, StoredObject
from mmr.errors import not_found, unavailable
from mmr.http.guard.waiting import within
from mmr.media.scanning import Scanning
from mmr.media.transfer import Transfer
from mmr.media.window import Window
from mmr.metrics import count_passed_through
from mmr.storage.media import MediaStore
from mmr.types import Mxc
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

# Who takes nothing for so long holds up the others, and the remote server.
_STALL_SECONDS = 10.0
_PIECE_BYTES = 256 * 1024


class _Stalled(Exception):
    """A client has taken nothing for a while."""


@attrs.define
class Received:
    """What a fetch has brought in so far: a file, and what is behind its end."""

    written: StoredObject | None = None
    written_bytes: int = 0
    unwritten: list[bytes] = attrs.Factory(list)

    def window(self) -> Window:
        """The same, to go on with in memory."""
        return Window(self.written, self.written_bytes, b"".join(self.unwritten))


class Passing:
    """Lets files through without keeping them.

    A few hundred kilobytes of each are in memory: clients go at the pace of the
    slowest, unless it stops.

    Args:
        media: Knows what is quarantined.
        scanning: Whether files must have been looked at.
        clock: For those who stop.
    """

    def __init__(self, media: MediaStore, scanning: Scanning, clock: Clock) -> None:
        self._media = media
        self._scanning = scanning
        self._clock = clock

    async def run(
        self,
        mxc: Mxc,
        body: AsyncIterator[bytes],
        transfer: Transfer,
        received: Received,
        why: DatastoreFull,
    ) -> None:
        """Send the rest to those who wait; its end only when the hash is a good one.

        Raises:
            DatastoreFull: hooks would have to see the file, and can't.
            MatrixError: 404: it is quarantined (R87). 503: nobody waits any more.
        """
        if self._scanning.is_demanded:
            raise why
        count_passed_through()
        logger.debug("%s goes through without being kept", mxc)
        window = received.window()
        transfer.goes_through(window, why)
        digest = await _digest_of(window)
        async for piece in body:
            digest.update(piece)
            window.add(piece)
            transfer.received(window, window.end)
            await self._make_room(window, transfer)
        if await self._media.is_quarantined_hash(digest.hexdigest()):
            logger.warning("%s is quarantined content: cut off", mxc)
            raise not_found()

    async def _make_room(self, window: Window, transfer: Transfer) -> None:
        """Wait until the clients have had enough of it."""
        while window.is_full:
            slowest = transfer.slowest
            if slowest is None:
                raise unavailable("Nobody waits for this media any more.")
            if window.forget(slowest.position):
                continue
            try:
                await within(self._clock, _STALL_SECONDS, slowest.moved(), _Stalled())
            except _Stalled:
                await slowest.cut()


async def _digest_of(window: Window) -> hashlib._Hash:
    digest = hashlib.sha256()
    position = 0
    while data := await window.read(position, _PIECE_BYTES):
        digest.update(data)
        position += len(data)
    return digest
