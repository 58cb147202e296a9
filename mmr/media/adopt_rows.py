"""What adopted media writes to the database beside its object."""

from __future__ import annotations

from mmr.media.commit import StoredAt
from mmr.media.rows import NewMedia
from mmr.storage.attributes import Purpose, set_purpose_txn
from mmr.storage.media import MediaRecord, MediaStore
from mmr.storage.objects import ObjectName
from mmr.storage.transaction import Transaction
from mmr.types import Mxc


class WrongHash(Exception):
    """The bytes are not the announced ones."""


class AdoptedRows:
    """Writes one record, inside the lock of its hash; the id that is there stays.

    Args:
        is_quarantined: All other records with this content become so as well.
        expected_sha256: None when nobody knows.

    Attributes:
        sha256_hash: Of the bytes, once the commit has begun.
        is_inserted: Whether the record is ours.
        quarantined: Records that became quarantined with it.
    """

    def __init__(
        self,
        new: NewMedia,
        store: MediaStore,
        *,
        creation_ts: int,
        is_quarantined: bool,
        is_protected: bool,
        expected_sha256: str | None,
    ) -> None:
        self._new = new
        self._store = store
        self._creation_ts = creation_ts
        self._is_quarantined = is_quarantined
        self._is_protected = is_protected
        self._expected_sha256 = expected_sha256
        self.sha256_hash = ""
        self.is_inserted = False
        self.quarantined: list[Mxc] = []

    def claim_txn(self, txn: Transaction, sha256_hash: str) -> MediaRecord | None:
        """The record, if the id got one meanwhile.

        Raises:
            WrongHash: before anything is published.
        """
        self.sha256_hash = sha256_hash
        if self._expected_sha256 not in (None, sha256_hash):
            raise WrongHash(f"its hash is {sha256_hash}, not {self._expected_sha256}")
        return self._store.get_media_txn(txn, self._new.origin, self._new.media_id)

    def insert_txn(
        self, txn: Transaction, stored: StoredAt, missing: ObjectName | None = None
    ) -> MediaRecord:
        """Write the record, or find what is there."""
        self.is_inserted = False
        known = self.claim_txn(txn, stored.sha256_hash)
        if known is not None:
            return known
        record = self._new.record(self._creation_ts, stored.sha256_hash, stored)
        record = self._store.insert_media_txn(txn, record)
        if self._is_protected:
            set_purpose_txn(txn, record.origin, record.media_id, Purpose.PINNED)
        if self._is_quarantined:
            self.quarantined = self._store.set_quarantined_by_hash_txn(
                txn, stored.sha256_hash, True
            )
        self.is_inserted = True
        return record
