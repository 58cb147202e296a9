"""What an upload writes to the database beside its object."""

from __future__ import annotations

import attrs

from mmr.limits.quotas import QuotaReservation
from mmr.media.commit import StoredAt
from mmr.storage.errors import MediaExists
from mmr.storage.media import MediaRecord, MediaStore
from mmr.storage.media_ids import MediaIdStore
from mmr.storage.objects import ObjectName, is_stand_in
from mmr.storage.pending import PendingStore
from mmr.storage.transaction import Transaction


@attrs.frozen(slots=True)
class NewMedia:
    """A record to be.

    Attributes:
        is_prescribed: The id was handed out before (``/create``, an import): it is
            filled or refused, never answered with another record.
    """

    origin: str
    media_id: str
    upload_name: str
    content_type: str
    user_id: str
    requires_auth: bool
    is_prescribed: bool

    def record(
        self, now_ms: int, sha256_hash: str, stored: StoredAt | None = None
    ) -> MediaRecord:
        """The record as it will be, once it is known where the bytes are."""
        return MediaRecord(
            origin=self.origin,
            media_id=self.media_id,
            upload_name=self.upload_name,
            content_type=self.content_type,
            user_id=self.user_id,
            sha256_hash=sha256_hash,
            size_bytes=stored.size_bytes if stored else 0,
            location=stored.name.location if stored else "",
            creation_ts=now_ms,
            quarantined=False,
            datastore_id=stored.name.datastore_id if stored else "",
            requires_auth=self.requires_auth,
        )


class IdTaken(Exception):
    """A generated media id is in use. It takes 2^160 bad luck."""


class NewMediaRows:
    """Writes one media record, inside the lock of its hash.

    Attributes:
        sha256_hash: Of the upload, once its commit has begun.
    """

    def __init__(
        self,
        media: NewMedia,
        *,
        stores: tuple[MediaStore, MediaIdStore, PendingStore],
        reservation: QuotaReservation,
        now_ms: int,
    ) -> None:
        self._new = media
        self._media, self._media_ids, self._pending = stores
        self._reservation = reservation
        self._now_ms = now_ms
        self.sha256_hash: str | None = None

    def claim_txn(self, txn: Transaction, sha256_hash: str) -> MediaRecord | None:
        """The uploader's own earlier copy, if any."""
        self.sha256_hash = sha256_hash
        if self._new.is_prescribed:
            return None
        return self._media.find_identical_txn(
            txn, self._new.record(self._now_ms, sha256_hash)
        )

    def insert_txn(
        self, txn: Transaction, stored: StoredAt, missing: ObjectName | None = None
    ) -> MediaRecord:
        """Write the record, or answer with the one that a parallel upload wrote.

        Raises:
            MediaExists: a prescribed id was filled meanwhile.
        """
        self._reservation.release_txn(txn)
        record = self._new.record(self._now_ms, stored.sha256_hash, stored)
        if self._new.is_prescribed:
            if not self._pending.delete_txn(txn, record.origin, record.media_id):
                raise MediaExists(f"{record.origin}/{record.media_id}")
        else:
            same = self._media.find_identical_txn(txn, record)
            if same is not None:
                return found_record(self._media, txn, same, stored, missing)
            if not self._media_ids.hold_txn(
                txn, record.origin, record.media_id, self._now_ms
            ):
                raise IdTaken(record.media_id)
        return self._media.insert_media_txn(txn, record)


class RemoteMediaRows:
    """Writes the record of a remote file; another process's is as good (R101)."""

    def __init__(self, media: NewMedia, store: MediaStore, now_ms: int) -> None:
        self._new = media
        self._store = store
        self._now_ms = now_ms

    def claim_txn(self, txn: Transaction, sha256_hash: str) -> MediaRecord | None:
        """The record, if another process has fetched the file meanwhile."""
        return self._store.get_media_txn(txn, self._new.origin, self._new.media_id)

    def insert_txn(
        self, txn: Transaction, stored: StoredAt, missing: ObjectName | None = None
    ) -> MediaRecord:
        """Write the record, or find the other process's."""
        known = self.claim_txn(txn, stored.sha256_hash)
        if known is not None:
            return found_record(self._store, txn, known, stored, missing)
        record = self._new.record(self._now_ms, stored.sha256_hash, stored)
        return self._store.insert_media_txn(txn, record)


def found_record(
    store: MediaStore,
    txn: Transaction,
    record: MediaRecord,
    stored: StoredAt,
    missing: ObjectName | None,
) -> MediaRecord:
    """A record that was there already; it gets the new bytes if its own are gone.

    So does one whose own were never compared with anything: a Synapse's file that was
    taken over in place, and is missing.
    """
    is_lost = record.object_name == missing and record.sha256_hash == stored.sha256_hash
    if not (is_lost or is_stand_in(record.sha256_hash)):
        return record
    moved = attrs.evolve(
        record,
        datastore_id=stored.name.datastore_id,
        location=stored.name.location,
        sha256_hash=stored.sha256_hash,
        size_bytes=stored.size_bytes,
    )
    return store.move_media_txn(txn, record, moved)
