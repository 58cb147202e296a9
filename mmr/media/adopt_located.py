"""Media whose object is in one of our datastores already: no byte is copied."""

from __future__ import annotations

import hashlib

from mmr.datastores.base import Datastore, ObjectMissing
from mmr.errors import not_permitted
from mmr.media.adopt_rows import AdoptedRows, WrongHash
from mmr.media.commit import StoredAt
from mmr.storage import objects
from mmr.storage.database import Database
from mmr.storage.media import MediaRecord, MediaStore
from mmr.storage.objects import ObjectName
from mmr.storage.transaction import Transaction
from mmr.util.threads import Runner

_PIECE_BYTES = 1024 * 1024


class LocatedObjects:
    """Gives records to objects that are where they shall stay.

    The object is read, as a record with a wrong hash would spoil what is shared by it.
    Nothing is deleted when it turns out to be another: it may be somebody else's.
    """

    def __init__(self, db: Database, media: MediaStore, threads: Runner) -> None:
        self._db = db
        self._media = media
        self._threads = threads

    async def commit(
        self, datastore: Datastore, location: str, rows: AdoptedRows, size: int | None
    ) -> MediaRecord:
        """Write the record.

        Args:
            size: What the object should have; None when nobody knows.

        Raises:
            WrongHash: it isn't there, or not what it should be.
            IdTaken: the id has other content.
            MatrixError: 403 for quarantined content, 5xx.
        """
        stored = await read_object(datastore, location, size, self._threads)
        return await self._db.interaction(
            "adopt_object", self._commit_txn, stored, rows
        )

    def _commit_txn(
        self, txn: Transaction, stored: StoredAt, rows: AdoptedRows
    ) -> MediaRecord:
        self._media.lock_hash_txn(txn, stored.sha256_hash)
        known = rows.claim_txn(txn, stored.sha256_hash)
        if known is not None:
            return known
        if objects.is_to_be_deleted_txn(txn, stored.name):
            raise WrongHash(f"{stored.name.location} is about to be deleted")
        if not rows.may_be_quarantined and self._media.is_quarantined_hash_txn(
            txn, stored.sha256_hash
        ):
            raise not_permitted()
        return rows.insert_txn(txn, stored)


async def read_object(
    datastore: Datastore, location: str, size: int | None, threads: Runner
) -> StoredAt:
    """Read an object to its end, and say what it is.

    Args:
        size: What it should have; None when nobody knows.

    Raises:
        WrongHash: it isn't there, or not as long as it should be.
        DatastoreError: the store can't tell.
    """
    try:
        found = await datastore.open(location)
    except ObjectMissing:
        raise WrongHash(f"{location} is not in datastore {datastore.id}") from None
    try:
        if size not in (None, found.size):
            raise WrongHash(f"it has {found.size} bytes; {size} were announced")
        digest = hashlib.sha256()
        offset = 0
        while piece := await found.read(offset, _PIECE_BYTES):
            await threads.run(digest.update, piece)
            offset += len(piece)
        if offset != found.size:
            raise WrongHash(f"it ends at byte {offset} of {found.size}")
    finally:
        await found.close()
    return StoredAt(ObjectName(datastore.id, location), digest.hexdigest(), offset)
