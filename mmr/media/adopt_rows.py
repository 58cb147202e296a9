"""What adopted media writes to the database beside its object."""

from __future__ import annotations

from mmr.media.commit import StoredAt
from mmr.media.rows import NewMedia, found_record
from mmr.storage import last_access
from mmr.storage.attributes import Purpose, set_purpose_txn
from mmr.storage.media import MediaRecord, MediaStore
from mmr.storage.objects import ObjectName
from mmr.storage.transaction import Transaction
from mmr.types import Mxc


class WrongHash(Exception):
    """The bytes are not the announced ones."""


class IdTaken(Exception):
    """The id has other content."""


class AdoptedRows:
    """Writes one record, inside the lock of its hash; the id that is there stays.

    Args:
        is_quarantined: All other records with this content become so as well.
        is_protected: The record gets pinned.
        expected_sha256: None when nobody knows.

    Attributes:
        sha256_hash: Of the bytes, once the commit has begun.
        accessed_ts: When the content was last asked for, ms.
        is_inserted: Whether the record is ours.
        quarantined: Records that became quarantined with it.
    """

    def __init__(
        self,
        new: NewMedia,
        store: MediaStore,
        *,
        creation_ts: int,
        last_access_ts: int | None,
        is_quarantined: bool,
        is_protected: bool,
        expected_sha256: str | None,
    ) -> None:
        self.new = new
        self.mxc = Mxc(new.origin, new.media_id)
        self.is_protected = is_protected
        self._store = store
        self._creation_ts = creation_ts
        self.accessed_ts = max(creation_ts, last_access_ts or 0)
        self._is_quarantined = is_quarantined
        self._expected_sha256 = expected_sha256
        self.sha256_hash = ""
        self.is_inserted = False
        self.quarantined: list[Mxc] = []

    @property
    def may_be_quarantined(self) -> bool:
        """Whether quarantined content is kept under this id."""
        return self._is_quarantined or self.is_protected

    def is_plain(self, sha256_hash: str) -> bool:
        """Whether `record` is all there is to write, but for `is_protected`."""
        self.sha256_hash = sha256_hash
        return not self._is_quarantined and self._fits(sha256_hash)

    def record(self, stored: StoredAt) -> MediaRecord:
        """The record as it will be."""
        return self.new.record(self._creation_ts, stored.sha256_hash, stored)

    def claim_txn(self, txn: Transaction, sha256_hash: str) -> MediaRecord | None:
        """The record, if the id has this content already.

        Raises:
            WrongHash: before anything is published.
            IdTaken: likewise.
        """
        self.sha256_hash = sha256_hash
        if not self._fits(sha256_hash):
            raise WrongHash(f"its hash is {sha256_hash}, not {self._expected_sha256}")
        known = self._store.get_media_txn(txn, self.mxc.origin, self.mxc.media_id)
        if known is not None and known.sha256_hash != sha256_hash:
            raise IdTaken("the id is here already, with other content")
        return known

    def insert_txn(
        self, txn: Transaction, stored: StoredAt, missing: ObjectName | None = None
    ) -> MediaRecord:
        """Write the record, or find what is there; lost bytes are replaced.

        Raises:
            IdTaken: another process has just filled the id.
        """
        self.is_inserted = False
        known = self.claim_txn(txn, stored.sha256_hash)
        if known is not None:
            return found_record(self._store, txn, known, stored, missing)
        record = self._store.insert_media_txn(txn, self.record(stored))
        last_access.touch_txn(txn, {stored.sha256_hash: self.accessed_ts})
        if self.is_protected:
            set_purpose_txn(txn, record.origin, record.media_id, Purpose.PINNED)
        if self._is_quarantined:
            self.quarantined = self._store.set_quarantined_by_hash_txn(
                txn, stored.sha256_hash, True
            )
        self.is_inserted = True
        return record

    def _fits(self, sha256_hash: str) -> bool:
        return self._expected_sha256 in (None, sha256_hash)
