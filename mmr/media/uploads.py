"""Uploads: a stream comes in, a committed record comes out (design §4)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import attrs

from mmr.cluster.ids import IdGenerator
from mmr.config import DomainConfig
from mmr.config.uploads import UploadsConfig
from mmr.datastores.base import ObjectWriter
from mmr.datastores.registry import Datastores
from mmr.errors import (
    MatrixError,
    cannot_overwrite,
    forbidden,
    not_found,
    rate_limited,
    too_large,
    too_small,
    unavailable,
)
from mmr.limits.quotas import QuotaReservation, limits_for
from mmr.media.commit import ObjectCommitter
from mmr.media.records import MediaRecords
from mmr.media.rows import NewMedia, NewMediaRows
from mmr.media.scanning import Scanning
from mmr.media.waiters import UploadWaiters
from mmr.storage.database import Database
from mmr.storage.errors import CommitOutcomeUnknown, MediaExists
from mmr.storage.media import MediaRecord, MediaStore
from mmr.storage.media_ids import MediaIdStore
from mmr.storage.pending import PendingMedia, PendingStore
from mmr.storage.quotas import QuotaStore
from mmr.storage.transaction import Transaction
from mmr.types import Kind, Mxc
from mmr.util.clock import Clock
from mmr.util.shield import shield

logger = logging.getLogger(__name__)

_ID_ATTEMPTS = 10


class UploadBody(Protocol):
    """The bytes that somebody sends."""

    @property
    def length(self) -> int | None:
        """What was announced; None when the body is chunked."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes, in pieces."""
        ...


@attrs.frozen(slots=True)
class UploadMeta:
    """What the uploader says of the file."""

    user_id: str
    content_type: str
    upload_name: str


def check_length(uploads: UploadsConfig, length: int | None) -> None:
    """Refuse a body by its announced length, before any of it is read (R65).

    Raises:
        MatrixError: 413 or 400.
    """
    if length is None:
        return
    if 0 < uploads.max_bytes < length:
        raise too_large()
    if length < uploads.min_bytes:
        raise too_small()


class Uploads:
    """Takes uploads, at once (``/upload``) or in two steps (``/create``, MSC2246).

    Args:
        freeze: ``repo.freezeUnauthenticatedMedia``, as it is now.
        scanning: Asks the hooks.
    """

    def __init__(
        self,
        *,
        db: Database,
        media: MediaStore,
        media_ids: MediaIdStore,
        pending: PendingStore,
        quotas: QuotaStore,
        datastores: Datastores,
        committer: ObjectCommitter,
        records: MediaRecords,
        waiters: UploadWaiters,
        ids: IdGenerator,
        clock: Clock,
        freeze: Callable[[], bool],
        scanning: Scanning,
    ) -> None:
        self._scanning = scanning
        self._db = db
        self._media = media
        self._media_ids = media_ids
        self._pending = pending
        self._quotas = quotas
        self._datastores = datastores
        self._committer = committer
        self._records = records
        self._waiters = waiters
        self._ids = ids
        self._clock = clock
        self._freeze = freeze

    async def upload(
        self, domain: DomainConfig, meta: UploadMeta, body: UploadBody
    ) -> Mxc:
        """Store an upload under a new id.

        Returns:
            Its address; that of the user's earlier upload when it was the very same.

        Raises:
            MatrixError: 400, 403, 413 or 503.
        """
        media = NewMedia(
            origin=domain.name,
            media_id=self._ids.unique_id(),
            upload_name=meta.upload_name,
            content_type=meta.content_type,
            user_id=meta.user_id,
            requires_auth=self._freeze(),
            is_prescribed=False,
        )
        record = await self._take(domain, media, body)
        return Mxc(record.origin, record.media_id)

    async def create(self, domain: DomainConfig, user_id: str) -> tuple[Mxc, int]:
        """Reserve an id for an upload that follows.

        Returns:
            The address, and until when (ms since the epoch) it waits for its content.

        Raises:
            MatrixError: 429 when too many ids of the user wait already (D6).
        """
        limits = limits_for(domain.uploads, user_id)
        expires_ts = self._clock.time_ms() + domain.uploads.max_age_seconds * 1000
        for _ in range(_ID_ATTEMPTS):
            mxc = Mxc(domain.name, self._ids.unique_id())
            pending = PendingMedia(mxc.origin, mxc.media_id, user_id, expires_ts)
            if await self._db.interaction(
                "create_media", self._create_txn, pending, limits.max_pending
            ):
                return mxc, expires_ts
        raise unavailable("No free media id was found")

    def _create_txn(
        self, txn: Transaction, pending: PendingMedia, max_pending: int | None
    ) -> bool:
        now = self._clock.time_ms()
        if not self._media_ids.hold_txn(txn, pending.origin, pending.media_id, now):
            return False
        if not self._pending.reserve_txn(txn, pending, max_pending, now):
            # By then those that wait now have been filled or have expired.
            raise rate_limited(pending.expires_ts - now)
        return True

    async def check_pending(self, domain: DomainConfig, mxc: Mxc, user_id: str) -> None:
        """Whether this user may fill this id now. Asked before the body is read.

        Raises:
            MatrixError: 403, 404 or 409, in the order of mmr-http-api.md §4.7.
        """
        if mxc.origin != domain.name:
            raise MatrixError(
                403,
                "M_NOT_FOUND",
                "Upload request is for another domain.",
                "M_FORBIDDEN",
            )
        # In this order: another upload's commit turns the one into the other.
        pending = await self._pending.get_pending(mxc.origin, mxc.media_id)
        if await self._media.get_media(mxc.origin, mxc.media_id) is not None:
            raise cannot_overwrite()
        if pending is None:
            raise not_found("Media expired or not found.")
        if pending.expires_ts < self._clock.time_ms():
            if pending.expires_ts > 0:
                await self._pending.end(mxc.origin, mxc.media_id)
            raise not_found("Media expired or not found.")
        if pending.user_id != user_id:
            raise forbidden("You do not have permission to upload this media.")

    async def fill(
        self, domain: DomainConfig, mxc: Mxc, meta: UploadMeta, body: UploadBody
    ) -> None:
        """Store the content of a reserved id and wake the downloads that wait for it.

        Raises:
            MatrixError: as `check_pending` and `upload`.
        """
        media = NewMedia(
            origin=mxc.origin,
            media_id=mxc.media_id,
            upload_name=meta.upload_name,
            content_type=meta.content_type,
            user_id=meta.user_id,
            requires_auth=self._freeze(),
            is_prescribed=True,
        )
        try:
            await self._take(domain, media, body)
        except MediaExists:
            raise cannot_overwrite() from None

    async def _take(
        self, domain: DomainConfig, media: NewMedia, body: UploadBody
    ) -> MediaRecord:
        reservation = QuotaReservation(
            self._quotas, media.user_id, limits_for(domain.uploads, media.user_id)
        )
        committing = False
        try:
            await reservation.cover(body.length or 0, is_final=body.length is not None)
            datastore = await self._datastores.choose(Kind.LOCAL_MEDIA, domain)
            writer = await datastore.create(body.length, media.content_type)
            try:
                await self._receive(domain.uploads, body, writer, reservation)
                await self._scanning.check(writer, media)
                committing = True
            finally:
                if not committing:
                    await writer.discard()
            return await shield(self._commit(datastore.id, writer, media, reservation))
        finally:
            if not committing:
                await reservation.release()

    async def _receive(
        self,
        uploads: UploadsConfig,
        body: UploadBody,
        writer: ObjectWriter,
        reservation: QuotaReservation,
    ) -> None:
        received = 0
        async for piece in body:
            received += len(piece)
            if 0 < uploads.max_bytes < received:
                raise too_large()
            await reservation.cover(received, is_final=False)
            await writer.write(piece)
        if received < uploads.min_bytes:
            raise too_small()
        await reservation.cover(received, is_final=True)

    async def _commit(
        self,
        datastore_id: str,
        writer: ObjectWriter,
        media: NewMedia,
        reservation: QuotaReservation,
    ) -> MediaRecord:
        rows = NewMediaRows(
            media,
            stores=(self._media, self._media_ids, self._pending),
            reservation=reservation,
            now_ms=self._clock.time_ms(),
        )
        mxc = Mxc(media.origin, media.media_id)
        datastore = self._datastores.get(datastore_id)
        is_booked = False
        try:
            try:
                record = await self._committer.commit(writer, datastore, rows)
            except CommitOutcomeUnknown:
                record = await self._look_up_outcome(mxc, rows.sha256_hash)
            is_booked = record.media_id == media.media_id
        finally:
            if not is_booked:
                await reservation.release()
        if record.media_id == media.media_id:
            self._records.added(mxc)
        else:
            # An older record that may have got a new object.
            self._records.invalidate(Mxc(record.origin, record.media_id))
        # Nobody can wait for an id that nobody was given before.
        if media.is_prescribed:
            self._waiters.notify(mxc)
        return record

    async def _look_up_outcome(self, mxc: Mxc, sha256_hash: str | None) -> MediaRecord:
        """The connection broke during COMMIT: whether it happened decides (R96)."""
        record = await self._media.get_media(mxc.origin, mxc.media_id)
        # A reserved id may meanwhile have got the content of another upload.
        if record is None or record.sha256_hash != sha256_hash:
            raise unavailable("The upload could not be stored. Try again.")
        logger.warning(
            "The commit of %s had happened although its answer was lost", mxc
        )
        return record
