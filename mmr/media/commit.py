"""How an object and its row become true together (design §6).

Intent, object, row, answer: a crash between any two of them loses nothing that was
acknowledged, and what it leaves behind is named by an intent that the sweep follows.
"""

from __future__ import annotations

import logging
from typing import Protocol, TypeVar

import attrs

from mmr.cluster.ids import IdGenerator
from mmr.datastores.base import Datastore, ObjectMissing, ObjectWriter
from mmr.datastores.registry import Datastores
from mmr.errors import not_permitted, unavailable
from mmr.storage import objects
from mmr.storage.database import Database
from mmr.storage.errors import CommitOutcomeUnknown
from mmr.storage.intents import Intent, IntentStore
from mmr.storage.media import MediaStore
from mmr.storage.objects import ObjectName
from mmr.storage.transaction import Transaction

logger = logging.getLogger(__name__)

# Tries when the object that we meant to share is purged under our hands.
_ATTEMPTS = 3


@attrs.frozen(slots=True)
class StoredAt:
    """Where bytes are, and what they are."""

    name: ObjectName
    sha256_hash: str
    size_bytes: int


class Located(Protocol):
    """A row that names an object."""

    @property
    def object_name(self) -> ObjectName:
        """Where the bytes are."""
        ...


RowT = TypeVar("RowT", bound=Located)
RowT_co = TypeVar("RowT_co", bound=Located, covariant=True)


class Rows(Protocol[RowT_co]):
    """What a commit writes besides the object. Runs inside the lock of the hash."""

    def claim_txn(self, txn: Transaction, sha256_hash: str) -> RowT_co | None:
        """Before anything is published: a row that answers as it is, or None."""
        ...

    def insert_txn(
        self, txn: Transaction, stored: StoredAt, missing: ObjectName | None = None
    ) -> RowT_co:
        """Write the row, or find the one that somebody else wrote meanwhile.

        Args:
            missing: An object with this content that is gone. A row that names it
                doesn't answer as it is.
        """
        ...


class _Vanished(Exception):
    """The object that was to be shared is not in use any more."""


@attrs.frozen(slots=True)
class _Attempt:
    """One commit under way: our own object, not visible yet."""

    writer: ObjectWriter
    datastore: Datastore
    stored: StoredAt
    may_be_quarantined: bool

    @property
    def intent(self) -> Intent:
        return Intent(self.stored.name, self.stored.sha256_hash)


class ObjectCommitter:
    """Commits written objects, sharing those that are there already."""

    def __init__(
        self,
        db: Database,
        media: MediaStore,
        intents: IntentStore,
        datastores: Datastores,
        ids: IdGenerator,
    ) -> None:
        self._db = db
        self._media = media
        self._intents = intents
        self._datastores = datastores
        self._ids = ids

    async def commit(
        self,
        writer: ObjectWriter,
        datastore: Datastore,
        rows: Rows[RowT],
        *,
        may_be_quarantined: bool = False,
    ) -> RowT:
        """Make the written bytes and their row durable, in this order.

        Args:
            may_be_quarantined: Quarantined content is kept as well.

        Raises:
            MatrixError: 403 when the hash is quarantined; whatever ``rows`` refuses.
            CommitOutcomeUnknown: the database went away while committing. The caller
                looks up what became of it; the sweep clears what is left.
        """
        try:
            sha256_hash = await writer.seal()
            location = writer.location
            if location is None:
                location = datastore.location_of(self._ids.object_name())
            stored = StoredAt(
                ObjectName(datastore.id, location), sha256_hash, writer.size
            )
            attempt = _Attempt(writer, datastore, stored, may_be_quarantined)
            for _ in range(_ATTEMPTS):
                try:
                    return await self._try(attempt, rows)
                except _Vanished:
                    continue
            raise unavailable("The media is being deleted. Try again.")
        finally:
            await writer.discard()

    async def _try(self, attempt: _Attempt, rows: Rows[RowT]) -> RowT:
        row, known = await self._db.interaction(
            "claim_object", self._claim_txn, attempt, rows
        )
        if known is not None:
            if await self._is_present(known, attempt.stored.size_bytes):
                if row is not None:
                    return row
                return await self._db.interaction(
                    "share_object", self._share_txn, attempt, known, rows
                )
            # A row names the hash, but its object is gone: ours takes the new row.
            await self._intents.add(attempt.intent)
        return await self._publish(attempt, rows, missing=known)

    def _claim_txn(
        self, txn: Transaction, attempt: _Attempt, rows: Rows[RowT]
    ) -> tuple[RowT | None, ObjectName | None]:
        sha256_hash = attempt.stored.sha256_hash
        self._lock_txn(txn, sha256_hash, attempt.may_be_quarantined)
        row = rows.claim_txn(txn, sha256_hash)
        if row is not None:
            return row, row.object_name
        known = objects.find_with_hash_txn(txn, sha256_hash)
        if known is None:
            self._intents.add_txn(txn, attempt.intent)
        return None, known

    def _lock_txn(
        self, txn: Transaction, sha256_hash: str, may_be_quarantined: bool
    ) -> None:
        self._media.lock_hash_txn(txn, sha256_hash)
        if may_be_quarantined:
            return
        if self._media.is_quarantined_hash_txn(txn, sha256_hash):
            raise not_permitted()

    async def _is_present(self, known: ObjectName, size_bytes: int) -> bool:
        datastore = self._datastores.find(known.datastore_id)
        # What another program may delete tomorrow is as good as gone.
        if datastore is None or datastore.is_foreign:
            return False
        try:
            found = await datastore.open(known.location)
        except ObjectMissing:
            logger.error(
                "Object %s of datastore %s is missing although records name it. "
                "A new upload of the same bytes is stored beside it.",
                known.location,
                known.datastore_id,
            )
            return False
        size = found.size
        await found.close()
        return size == size_bytes

    def _share_txn(
        self, txn: Transaction, attempt: _Attempt, known: ObjectName, rows: Rows[RowT]
    ) -> RowT:
        stored = attrs.evolve(attempt.stored, name=known)
        self._lock_txn(txn, stored.sha256_hash, attempt.may_be_quarantined)
        if not objects.is_in_use_txn(txn, stored.name):
            raise _Vanished
        return rows.insert_txn(txn, stored)

    async def _publish(
        self, attempt: _Attempt, rows: Rows[RowT], missing: ObjectName | None
    ) -> RowT:
        try:
            await attempt.writer.publish(attempt.stored.name.location)
            return await self._db.interaction(
                "commit_object",
                self.commit_txn,
                attempt.stored,
                rows,
                missing,
                may_be_quarantined=attempt.may_be_quarantined,
            )
        except CommitOutcomeUnknown:
            raise
        except BaseException:
            await self._give_up(attempt.intent)
            raise

    def commit_txn(
        self,
        txn: Transaction,
        stored: StoredAt,
        rows: Rows[RowT],
        missing: ObjectName | None = None,
        *,
        may_be_quarantined: bool = False,
    ) -> RowT:
        """The last step, for an object that is named by an intent, and visible.

        Raises:
            MatrixError: 403 or 503. The caller gives the object up.
        """
        self._lock_txn(txn, stored.sha256_hash, may_be_quarantined)
        if not self._intents.remove_txn(txn, stored.name):
            # This process was asleep for so long that the sweep gave its object up.
            raise unavailable("The upload took too long. Try again.")
        # Where one object is missing, another that we didn't look at may be as well.
        other = objects.find_with_hash_txn(txn, stored.sha256_hash)
        if missing is None and other is not None:
            row = rows.insert_txn(txn, attrs.evolve(stored, name=other))
        else:
            row = rows.insert_txn(txn, stored, missing)
        if row.object_name != stored.name:
            objects.queue_delete_txn(txn, stored.name)
        return row

    async def _give_up(self, intent: Intent) -> None:
        """Have the object deleted. A failure here is the sweep's to mend."""
        try:
            await self._intents.sweep(intent)
        except Exception:
            logger.exception("Could not give up object %s; the sweep will", intent.name)
