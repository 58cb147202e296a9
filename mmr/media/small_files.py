"""Commits many small files together (design §6): two transactions and two flushes.

The order is that of `ObjectCommitter`: intents, objects, rows, answers. Whatever isn't
a new file under a new id is left to that one.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence

import attrs

from twisted.internet.defer import Deferred, gatherResults

from mmr.cluster.ids import IdGenerator
from mmr.datastores.base import Datastore, Taken, TakesMany
from mmr.errors import MatrixError
from mmr.media.adopt_rows import AdoptedRows, IdTaken
from mmr.media.commit import ObjectCommitter, StoredAt
from mmr.storage import objects
from mmr.storage.adoption import AdoptionStore
from mmr.storage.database import Database
from mmr.storage.errors import CommitOutcomeUnknown
from mmr.storage.intents import Intent, IntentStore
from mmr.storage.media import MediaRecord
from mmr.storage.objects import ObjectName
from mmr.storage.transaction import Transaction
from mmr.types import Mxc
from mmr.util.countdown import Countdown
from mmr.util.memory_file import Payload, bytes_of

logger = logging.getLogger(__name__)

MAX_SMALL_BYTES = 256 * 1024
"""A file that is larger gains nothing by company."""

# A transaction holds a lock a file, and PostgreSQL has room for some thousands.
_MAX_BATCH = 512
_MAX_BATCH_BYTES = 16 * 1024 * 1024
# Some write files, or wait for a flush, while another talks to the database.
_AT_ONCE = 5


@attrs.define(eq=False)
class _File:
    """One file on its way in.

    Attributes:
        caller: Who waits for it.
        stored: Where its object goes, and what it is; once the batch has begun.
        outcome: The record, or what went wrong; None: not known yet.
    """

    datastore: Datastore
    rows: AdoptedRows
    data: Payload
    caller: Countdown
    stored: StoredAt | None = None
    outcome: MediaRecord | Exception | None = None

    @property
    def at(self) -> StoredAt:
        assert self.stored is not None
        return self.stored


class SmallFiles:
    """Takes files of up to `MAX_SMALL_BYTES`; those that wait go together.

    What waits is bounded by the callers: each waits for its file.
    """

    def __init__(
        self,
        *,
        db: Database,
        store: AdoptionStore,
        intents: IntentStore,
        committer: ObjectCommitter,
        ids: IdGenerator,
    ) -> None:
        self._db = db
        self._store = store
        self._intents = intents
        self._committer = committer
        self._ids = ids
        self._waiting: deque[_File] = deque()
        self._running = 0

    async def commit(
        self, datastore: Datastore, files: Sequence[tuple[AdoptedRows, Payload]]
    ) -> list[MediaRecord | Exception]:
        """Make bytes and rows durable. Cancelling ends the wait, not the work.

        Returns:
            What `ObjectCommitter.commit` would have returned or raised for each.
        """
        if not files:
            return []
        caller = Countdown(len(files))
        ours = [_File(datastore, rows, data, caller) for rows, data in files]
        self._waiting.extend(ours)
        while self._running < _AT_ONCE and self._waiting:
            self._running += 1
            Deferred.fromCoroutine(self._drain())
        await caller.done
        return [_outcome_of(file) for file in ours]

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = self._next()
                try:
                    await self._commit(batch)
                except Exception as error:
                    for file in batch:
                        file.outcome = error
                for file in batch:
                    file.caller.settle()
        finally:
            self._running -= 1

    def _next(self) -> list[_File]:
        """Files for one datastore; each id and no more than a batch holds."""
        datastore = self._waiting[0].datastore
        batch: dict[Mxc, _File] = {}
        size = 0
        while self._waiting and len(batch) < _MAX_BATCH:
            file = self._waiting[0]
            size += len(file.data)
            if file.datastore is not datastore or file.rows.mxc in batch:
                break
            if batch and size > _MAX_BATCH_BYTES:
                break
            batch[file.rows.mxc] = self._waiting.popleft()
        return list(batch.values())

    async def _commit(self, batch: list[_File]) -> None:
        store: object = batch[0].datastore
        if isinstance(store, TakesMany):
            taken = await store.take([file.data for file in batch])
            try:
                await self._publish(batch, taken)
            finally:
                taken.close()
        rest = [file for file in batch if file.outcome is None]
        await gatherResults(
            [Deferred.fromCoroutine(self._commit_alone(file)) for file in rest]
        )

    def _name(self, batch: list[_File], hashes: Sequence[str]) -> None:
        datastore = batch[0].datastore
        names = self._ids.object_names(len(batch))
        for file, sha256, name in zip(batch, hashes, names, strict=True):
            location = ObjectName(datastore.id, datastore.location_of(name))
            file.stored = StoredAt(location, sha256, len(file.data))

    def _claim_txn(self, txn: Transaction, batch: list[_File]) -> list[_File]:
        """Name the objects of those files whose id and content are new."""
        known = self._store.known_txn(txn, [file.rows.mxc for file in batch])
        hashes = {file.at.sha256_hash for file in batch}
        taken = self._store.known_hashes_txn(txn, hashes)
        fresh = []
        for file in batch:
            sha256 = file.at.sha256_hash
            if file.rows.is_plain(sha256) and not (
                sha256 in taken or file.rows.mxc in known
            ):
                # A second file with the same bytes shares the object, once it's there.
                taken.add(sha256)
                fresh.append(file)
        self._store.add_intents_txn(txn, map(_intent, fresh))
        return fresh

    async def _publish(self, batch: list[_File], taken: Taken) -> None:
        """Store what is new. The others have no outcome then."""
        self._name(batch, taken.hashes)
        fresh = await self._db.interaction("claim_files", self._claim_txn, batch)
        if not fresh:
            return
        new = set(map(id, fresh))
        try:
            await taken.put(
                [file.at.name.location if id(file) in new else None for file in batch]
            )
            outcomes = await self._db.interaction(
                "commit_files", self._commit_txn, fresh
            )
        except CommitOutcomeUnknown:
            raise
        except BaseException:
            await self._give_up(fresh)
            raise
        for file, outcome in zip(fresh, outcomes, strict=True):
            file.outcome = outcome
            if isinstance(outcome, MediaRecord):
                file.rows.is_inserted |= outcome.object_name == file.at.name

    async def _give_up(self, files: Sequence[_File]) -> None:
        """Have objects deleted. A failure here is the sweep's to mend."""

        def give_up_txn(txn: Transaction) -> None:
            for file in files:
                self._intents.sweep_txn(txn, _intent(file))

        try:
            await self._db.interaction("give_up_files", give_up_txn)
        except Exception:
            logger.exception("Could not give up %d objects; the sweep will", len(files))

    def _commit_txn(
        self, txn: Transaction, fresh: Sequence[_File]
    ) -> list[MediaRecord | Exception]:
        """All rows at once; those to which something happened meanwhile one by one."""
        hashes = [file.at.sha256_hash for file in fresh]
        self._store.lock_hashes_txn(txn, hashes)
        taken = self._store.known_hashes_txn(txn, hashes)
        known = self._store.known_txn(txn, [file.rows.mxc for file in fresh])
        plain = [
            file
            for file in fresh
            if not (file.at.sha256_hash in taken or file.rows.mxc in known)
        ]
        records = self._insert_txn(txn, plain)
        return [
            records[file.rows.mxc]
            if file.rows.mxc in records
            else self._commit_one_txn(txn, file)
            for file in fresh
        ]

    def _insert_txn(
        self, txn: Transaction, files: Sequence[_File]
    ) -> dict[Mxc, MediaRecord]:
        if not files:
            return {}
        left = self._store.remove_intents_txn(
            txn,
            files[0].datastore.id,
            [file.at.name.location for file in files],
        )
        # An intent that is gone was swept: this process was asleep for too long.
        ours = [file for file in files if file.at.name.location in left]
        records = {file.rows.mxc: file.rows.record(file.at) for file in ours}
        added = self._store.insert_txn(
            txn,
            list(records.values()),
            [file.rows.mxc for file in ours if file.rows.is_protected],
            {file.rows.mxc: file.rows.accessed_ts for file in ours},
        )
        # `_commit_one_txn` ends the intents of those that were not added.
        self._store.add_intents_txn(
            txn, [_intent(file) for file in ours if file.rows.mxc not in added]
        )
        return {mxc: record for mxc, record in records.items() if mxc in added}

    def _commit_one_txn(self, txn: Transaction, file: _File) -> MediaRecord | Exception:
        try:
            return self._committer.commit_txn(
                txn,
                file.at,
                file.rows,
                may_be_quarantined=file.rows.may_be_quarantined,
            )
        except (MatrixError, IdTaken) as error:
            self._intents.remove_txn(txn, file.at.name)
            objects.queue_delete_txn(txn, file.at.name)
            return error

    async def _commit_alone(self, file: _File) -> None:
        writer = await file.datastore.create(len(file.data))
        try:
            await writer.write(bytes_of(file.data))
            file.outcome = await self._committer.commit(
                writer,
                file.datastore,
                file.rows,
                may_be_quarantined=file.rows.may_be_quarantined,
            )
        except Exception as error:
            file.outcome = error
        finally:
            await writer.discard()


def _intent(file: _File) -> Intent:
    return Intent(file.at.name, file.at.sha256_hash)


def _outcome_of(file: _File) -> MediaRecord | Exception:
    assert file.outcome is not None
    return file.outcome
