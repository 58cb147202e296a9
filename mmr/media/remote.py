"""Media of other servers: fetched once, streamed to all who wait, kept (design §4)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mmr.config import DomainConfig
from mmr.datastores.base import ObjectWriter, StoredObject
from mmr.datastores.registry import Datastores
from mmr.errors import MatrixError, unavailable
from mmr.media.commit import ObjectCommitter
from mmr.media.failures import RemoteFailures
from mmr.media.records import MediaRecords
from mmr.media.rows import NewMedia, RemoteMediaRows
from mmr.media.transfer import HELD_BACK_BYTES, Transfer
from mmr.storage.errors import CommitOutcomeUnknown
from mmr.storage.media import MediaRecord, MediaStore
from mmr.types import Kind, Mxc
from mmr.util.clock import Clock
from mmr.util.single_flight import SingleFlight
from mmr.util.slots import Slot, Slots

logger = logging.getLogger(__name__)

# Fetches that may wait for a slot; one more is refused with 503.
_MAX_WAITING = 1000


class RemoteFile(Protocol):
    """A file that a remote server is sending."""

    @property
    def content_type(self) -> str:
        """As it says."""
        ...

    @property
    def name(self) -> str:
        """Likewise; empty for none."""
        ...

    @property
    def size(self) -> int | None:
        """As announced."""
        ...

    @property
    def body(self) -> AsyncIterator[bytes]:
        """The bytes; raises when they end early or are too many."""
        ...

    async def close(self) -> None:
        """End the connection."""
        ...


class RemoteSource(Protocol):
    """Asks the origin (`mmr.federation.media`)."""

    async def open(self, domain: DomainConfig, mxc: Mxc, wait_ms: int) -> RemoteFile:
        """Find the file.

        Raises:
            RemoteFailed: with the cause, which is a `MatrixError` for clients.
        """
        ...


class RemoteMedia:
    """Fetches remote media: one fetch per media at a time, whoever asks.

    Args:
        max_fetches: ``downloads.numWorkers``: fetches that run at once.
        freeze: ``repo.freezeUnauthenticatedMedia``, as it is now.
    """

    def __init__(
        self,
        *,
        source: RemoteSource,
        media: MediaStore,
        records: MediaRecords,
        datastores: Datastores,
        committer: ObjectCommitter,
        failures: RemoteFailures,
        clock: Clock,
        max_fetches: Callable[[], int],
        freeze: Callable[[], bool],
    ) -> None:
        self._source = source
        self._media = media
        self._records = records
        self._datastores = datastores
        self._committer = committer
        self._failures = failures
        self._clock = clock
        self._slots = Slots("downloads", max_fetches, _MAX_WAITING)
        self._freeze = freeze
        self._opening: SingleFlight[Mxc, Transfer] = SingleFlight()
        self._transfers: dict[Mxc, Transfer] = {}

    async def fetch(self, domain: DomainConfig, mxc: Mxc, wait_ms: int) -> Transfer:
        """The fetch of this media, begun now or under way already.

        Returns:
            When the first bytes may go out, or the file is kept.

        Raises:
            MatrixError: 404, 502, 503 or 504, by what went wrong.
        """
        self._failures.check(mxc)
        transfer = self._transfers.get(mxc)
        if transfer is None:
            transfer = await self._opening.run(
                mxc, lambda: self._begin(domain, mxc, wait_ms)
            )
        await transfer.begun()
        return transfer

    async def keep(self, domain: DomainConfig, mxc: Mxc, wait_ms: int) -> MediaRecord:
        """Fetch the whole file, for a thumbnail of it.

        Raises:
            MatrixError: as `fetch`.
        """
        transfer = await self.fetch(domain, mxc, wait_ms)
        return await transfer.finished()

    async def _begin(self, domain: DomainConfig, mxc: Mxc, wait_ms: int) -> Transfer:
        slot = await self._slots.take()
        try:
            remote = await self._source.open(domain, mxc, wait_ms)
        except MatrixError as error:
            slot.release()
            self._failures.remember(mxc, error, domain.downloads)
            raise
        except BaseException:
            slot.release()
            raise
        transfer = Transfer(remote.content_type, remote.name, remote.size)
        self._transfers[mxc] = transfer
        Deferred.fromCoroutine(self._run(domain, mxc, remote, transfer, slot))
        return transfer

    async def _run(
        self,
        domain: DomainConfig,
        mxc: Mxc,
        remote: RemoteFile,
        transfer: Transfer,
        slot: Slot,
    ) -> None:
        """Receive and keep. It goes on when clients leave: the next one gains by it."""
        try:
            record = await self._receive_and_commit(domain, mxc, remote, transfer)
        except BaseException as error:
            if isinstance(error, MatrixError):
                self._failures.remember(mxc, error, domain.downloads)
                logger.warning("Fetching %s failed: %s", mxc, error)
            else:
                logger.exception("Fetching %s failed", mxc)
            del self._transfers[mxc]
            await transfer.failed(Failure())
        else:
            self._records.invalidate(mxc)
            del self._transfers[mxc]
            await transfer.kept(record)
        finally:
            slot.release()
            await remote.close()

    async def _receive_and_commit(
        self,
        domain: DomainConfig,
        mxc: Mxc,
        remote: RemoteFile,
        transfer: Transfer,
    ) -> MediaRecord:
        datastore = await self._datastores.choose(Kind.REMOTE_MEDIA, domain)
        writer = await datastore.create(remote.size)
        try:
            await self._receive(remote, writer, transfer)
            rows = RemoteMediaRows(
                NewMedia(
                    origin=mxc.origin,
                    media_id=mxc.media_id,
                    upload_name=remote.name,
                    content_type=remote.content_type,
                    user_id="",
                    requires_auth=self._freeze(),
                    is_prescribed=True,
                ),
                self._media,
                self._clock.time_ms(),
            )
            return await self._committer.commit(writer, datastore, rows)
        except CommitOutcomeUnknown:
            record = await self._media.get_media(mxc.origin, mxc.media_id)
            if record is None:
                raise unavailable("The media could not be stored. Try again.") from None
            return record
        finally:
            await writer.discard()

    async def _receive(
        self, remote: RemoteFile, writer: ObjectWriter, transfer: Transfer
    ) -> None:
        written: StoredObject | None = None
        async for piece in remote.body:
            await writer.write(piece)
            if writer.size <= HELD_BACK_BYTES:
                continue
            if written is None:
                written = await writer.open_written()
            else:
                await writer.spill()
            transfer.received(written, writer.size)
