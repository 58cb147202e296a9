"""Media of other servers: fetched once, streamed to all who wait, kept (design §4)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import attrs

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from mmr.cluster.leases import Leases
from mmr.config import DomainConfig
from mmr.datastores.base import Datastore, DatastoreFull, ObjectWriter
from mmr.datastores.registry import Datastores
from mmr.errors import MatrixError, not_found, unavailable
from mmr.http.guard import MEDIA_BOUNDS, Bound, Budget
from mmr.media.commit import ObjectCommitter
from mmr.media.failures import RemoteFailures
from mmr.media.passing import Passing, Received
from mmr.media.records import MediaRecords
from mmr.media.rows import NewMedia, RemoteMediaRows
from mmr.media.scanning import Scanning
from mmr.media.transfer import HELD_BACK_BYTES, Transfer
from mmr.metrics import observe_first_byte
from mmr.storage.errors import CommitOutcomeUnknown
from mmr.storage.media import MediaRecord, MediaStore
from mmr.types import Kind, Mxc
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

# Fetches from one server that may wait for a slot; one more is refused with 503.
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

    async def open(
        self, domain: DomainConfig, mxc: Mxc, wait_ms: int, user: str | None
    ) -> RemoteFile:
        """Find the file, and say in one log line why it can't be had.

        Raises:
            RemoteFailed: with the cause, which is a `MatrixError` for clients.
        """
        ...


@attrs.frozen
class _Fetch:
    """What to fetch, in whose name, because of whom; and those who wait for it."""

    domain: DomainConfig
    mxc: Mxc
    wait_ms: int
    user: str | None
    transfer: Transfer
    started: float


class RemoteMedia:
    """Fetches remote media: one fetch per media at a time, whoever asks.

    Args:
        max_fetches: ``downloads.numWorkers``: fetches from one server at once. Those of
            one user, and all together, have bounds of their own (R20).
        freeze: ``repo.freezeUnauthenticatedMedia``, as it is now.
        leases: Has one process fetch, where there are several.
        scanning: Asks the hooks.
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
        leases: Leases,
        scanning: Scanning,
    ) -> None:
        self._passing = Passing(media, scanning, clock)
        self._scanning = scanning
        self._leases = leases
        self._source = source
        self._media = media
        self._records = records
        self._datastores = datastores
        self._committer = committer
        self._failures = failures
        self._clock = clock
        self._max_fetches = max_fetches
        self._bound = 0
        self._budget = Budget(clock, MEDIA_BOUNDS)
        self._freeze = freeze
        self._transfers: dict[Mxc, Transfer] = {}
        self._running: set[Deferred[None]] = set()

    @property
    def running(self) -> int:
        """Fetches under way, those included that wait for their turn."""
        return len(self._running)

    async def stop(self) -> None:
        """Give up what is being fetched; nothing of it stays."""
        for running in list(self._running):
            running.cancel()
        while self._running:
            await next(iter(self._running))

    async def fetch(
        self, domain: DomainConfig, mxc: Mxc, wait_ms: int, user: str | None = None
    ) -> Transfer:
        """The fetch of this media, begun now or under way already.

        Returns:
            When the first bytes may go out, or the file is kept.

        Raises:
            MatrixError: 404, 502, 503 or 504, by what went wrong.
        """
        self._failures.check(mxc)
        transfer = self._transfers.get(mxc)
        if transfer is None or not transfer.is_joinable:
            transfer = self._transfers[mxc] = Transfer(self._clock)
            fetch = _Fetch(
                domain, mxc, wait_ms, user, transfer, self._clock.monotonic()
            )
            running = Deferred.fromCoroutine(self._run(fetch))
            if not running.called:
                transfer.unwanted = lambda: self._give_up(fetch, running)
                self._running.add(running)
                running.addBoth(lambda _: self._running.discard(running))
        await transfer.begun()
        return transfer

    def _give_up(self, fetch: _Fetch, running: Deferred[None]) -> None:
        """Nobody waits for it any more: nothing of it stays (R66)."""
        logger.info("%s is not wanted any more", fetch.mxc)
        # Who comes while it is cleared up begins anew.
        self._forget(fetch)
        running.cancel()

    async def _run(self, fetch: _Fetch) -> None:
        """Receive and keep."""
        mxc, transfer = fetch.mxc, fetch.transfer
        try:
            record = await self._leases.once(
                f"fetch {mxc}",
                lambda: self._media.get_media(mxc.origin, mxc.media_id),
                lambda: self._fetch(fetch),
            )
        except CancelledError:
            self._forget(fetch)
            await transfer.failed(Failure(unavailable("The server is stopping.")))
        except BaseException as error:
            if isinstance(error, MatrixError):
                self._failures.remember(mxc, error, fetch.domain.downloads)
            else:
                logger.exception("Fetching %s failed", mxc)
            self._forget(fetch)
            await transfer.failed(Failure())
        else:
            if record is None:
                self._forget(fetch)
                await transfer.passed()
                return
            self._records.added(mxc)
            self._forget(fetch)
            await transfer.kept(record)

    def _forget(self, fetch: _Fetch) -> None:
        """A file that went through may be fetched a second time meanwhile."""
        if self._transfers.get(fetch.mxc) is fetch.transfer:
            del self._transfers[fetch.mxc]

    async def _fetch(self, fetch: _Fetch) -> MediaRecord | None:
        """The record; None when the file has gone through without being kept."""
        slot = await self._admission().acquire(fetch.mxc.origin, fetch.user)
        try:
            remote = await self._source.open(
                fetch.domain, fetch.mxc, fetch.wait_ms, fetch.user
            )
            try:
                fetch.transfer.opened(remote.content_type, remote.name, remote.size)
                return await self._receive_and_commit(fetch, remote)
            finally:
                await remote.close()
        finally:
            slot.release()

    def _admission(self) -> Budget:
        """One for origin and user together: who waits for the one holds no other."""
        bound = self._max_fetches()
        if bound != self._bound:
            self._bound = bound
            per_origin = Bound(bound, _MAX_WAITING)
            bounds = attrs.evolve(MEDIA_BOUNDS, per_destination=per_origin)
            self._budget = Budget(self._clock, bounds)
        return self._budget

    async def _receive_and_commit(
        self, fetch: _Fetch, remote: RemoteFile
    ) -> MediaRecord | None:
        received = Received()
        body = self._watched(fetch, remote.body)
        try:
            return await self._receive_and_keep(fetch, remote, body, received)
        except DatastoreFull as full:
            await self._passing.run(fetch.mxc, body, fetch.transfer, received, full)
            return None

    async def _watched(
        self, fetch: _Fetch, body: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """The body, with its first byte measured and its failure logged."""
        is_first = True
        try:
            async for piece in body:
                if is_first:
                    observe_first_byte(self._clock.monotonic() - fetch.started)
                    is_first = False
                yield piece
        except MatrixError as error:
            logger.warning("Fetching %s failed: %s", fetch.mxc, error)
            raise

    async def _receive_and_keep(
        self,
        fetch: _Fetch,
        remote: RemoteFile,
        body: AsyncIterator[bytes],
        received: Received,
    ) -> MediaRecord:
        datastore = await self._datastores.choose(Kind.REMOTE_MEDIA, fetch.domain)
        writer = await datastore.create(remote.size, remote.content_type)
        try:
            await self._receive(body, writer, fetch.transfer, received)
            return await self._keep(fetch, remote, writer, datastore)
        finally:
            await writer.discard()

    async def _receive(
        self,
        body: AsyncIterator[bytes],
        writer: ObjectWriter,
        transfer: Transfer,
        received: Received,
    ) -> None:
        async for piece in body:
            received.unwritten.append(piece)
            await writer.write(piece)
            if writer.size <= HELD_BACK_BYTES:
                continue
            if received.written is None:
                received.written = await writer.open_written()
            else:
                await writer.spill()
            received.written_bytes = writer.size
            received.unwritten.clear()
            transfer.received(received.written, writer.size)

    async def _keep(
        self,
        fetch: _Fetch,
        remote: RemoteFile,
        writer: ObjectWriter,
        datastore: Datastore,
    ) -> MediaRecord:
        try:
            record = await self._commit(fetch, remote, writer, datastore)
        except DatastoreFull:
            raise
        except MatrixError as error:
            logger.warning("Keeping %s failed: %s", fetch.mxc, error)
            # Quarantined content is not there, for those who ask for it (R87).
            raise not_found() if error.status == 403 else error from error
        if record.size_bytes != writer.size:
            # Another process was given other bytes; ours are on their way to clients.
            raise unavailable("The media changed while it was fetched. Try again.")
        return record

    async def _commit(
        self,
        fetch: _Fetch,
        remote: RemoteFile,
        writer: ObjectWriter,
        datastore: Datastore,
    ) -> MediaRecord:
        mxc = fetch.mxc
        new = NewMedia(
            origin=mxc.origin,
            media_id=mxc.media_id,
            upload_name=remote.name,
            content_type=remote.content_type,
            user_id="",
            requires_auth=self._freeze(),
            is_prescribed=True,
        )
        await self._scanning.check(writer, new)
        # All is there: what is left takes a moment.
        fetch.transfer.unwanted = None
        rows = RemoteMediaRows(new, self._media, self._clock.time_ms())
        try:
            return await self._committer.commit(writer, datastore, rows)
        except CommitOutcomeUnknown:
            record = await self._media.get_media(mxc.origin, mxc.media_id)
            if record is None:
                raise unavailable("The media could not be stored. Try again.") from None
            return record
