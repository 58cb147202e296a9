"""``storage_migration``: moves what was not asked for lately to another datastore."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.python.failure import Failure

from mmr.cluster.ids import IdGenerator
from mmr.datastores.base import Datastore, DatastoreError, ObjectMissing, ObjectWriter
from mmr.datastores.registry import Datastores
from mmr.storage.intents import Intent, IntentStore
from mmr.storage.objects import ObjectName, is_stand_in
from mmr.storage.tasks import Progress, Task
from mmr.storage.transfers import MovableObject, Moving, TransferStore
from mmr.tasks.brake import Brake
from mmr.tasks.engine import TaskFailed, TaskReporter
from mmr.types import Mxc
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

NAME = "storage_migration"

_BATCH = 100
# Each waits for the disk most of the time, and for the database's commits.
_LANES = 8
_PIECE_BYTES = 256 * 1024
DEFAULT_BYTES_PER_SECOND = 50_000_000


class _Damaged(Exception):
    """The source isn't what its row says. It stays where it is."""


@attrs.frozen
class TransferParams:
    """``params`` of the task; the names are MMR's but for the last.

    Attributes:
        bytes_per_second: At most so many are copied; 0 for no limit.
    """

    source_datastore_id: str
    target_datastore_id: str
    before_ts: int
    bytes_per_second: int = DEFAULT_BYTES_PER_SECOND

    @classmethod
    def read(cls, params: Any) -> TransferParams:
        """Read what is in the database; MMR may have written it.

        Raises:
            TaskFailed: when something is missing.
        """
        try:
            return cls(
                str(params["source_datastore_id"]),
                str(params["target_datastore_id"]),
                int(params["before_ts"]),
                int(params.get("bytes_per_second", DEFAULT_BYTES_PER_SECOND)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TaskFailed(f"the task's parameters are bad: {error}") from error


class Transfer:
    """Copies each object, verifies it, turns all its rows, and queues the old one.

    What the target has already is shared. Objects of another program (a Synapse's) stay
    where they are, and their hashes are learned here when nobody knew them.

    It can be broken off at any point: what has moved is not in the source any more, so
    the next run goes on with the rest (D65). Datastores of all homeservers will do
    (D64).

    Args:
        changed: Told of every media whose rows were changed, for the caches.
    """

    def __init__(
        self,
        *,
        transfers: TransferStore,
        intents: IntentStore,
        datastores: Datastores,
        ids: IdGenerator,
        clock: Clock,
        changed: Callable[[Mxc], None],
    ) -> None:
        self._transfers = transfers
        self._intents = intents
        self._datastores = datastores
        self._ids = ids
        self._clock = clock
        self._changed = changed

    async def run(self, task: Task, reporter: TaskReporter) -> None:
        """See `TaskRunner.run`."""
        params = TransferParams.read(task.params)
        source = self._datastores.find(params.source_datastore_id)
        target = self._datastores.find(params.target_datastore_id)
        if source is None or target is None:
            raise TaskFailed("the source or target datastore is not configured")
        if source.id == target.id:
            raise TaskFailed("source and target are the same datastore")
        if target.is_foreign:
            raise TaskFailed("the target is another program's, and is only read")
        estimate = await self._transfers.estimate(source.id, params.before_ts)
        before = task.progress
        run = _Run(
            self,
            source,
            target,
            params,
            reporter,
            attrs.evolve(
                before, failed=0, total=before.done + estimate.total_hashes_affected
            ),
            Brake(self._clock, params.bytes_per_second),
        )
        await run.move_all()
        await reporter.report(run.progress, now=True)
        if run.progress.failed:
            raise TaskFailed(
                f"{run.progress.failed} objects could not be moved; the log names "
                "them. Start the transfer again once that is mended."
            )

    async def some(
        self, table: str, params: TransferParams, after: str
    ) -> list[MovableObject]:
        """The next objects to move."""
        return await self._transfers.get_old(
            table, params.source_datastore_id, params.before_ts, after, _BATCH
        )

    async def is_named(self, source: Datastore, item: MovableObject) -> bool:
        """Whether an object is there to be moved still."""
        return await self._transfers.is_named(ObjectName(source.id, item.location))

    async def place(
        self, writer: ObjectWriter, moving: Moving, target: Datastore
    ) -> None:
        """Have the content in the target, and let the rows point at it."""
        changed = await self._share(moving, target)
        if changed is None:
            changed = await self._publish(writer, moving, target)
        for mxc in changed:
            self._changed(mxc)

    async def _share(self, moving: Moving, target: Datastore) -> list[Mxc] | None:
        """Use what the target has already; None when it hasn't."""
        known = await self._transfers.find_copy(target.id, moving.sha256_hash)
        if known is None:
            return None
        try:
            stored = await target.open(known.location)
        except ObjectMissing:
            return None
        await stored.close()
        if stored.size != moving.size_bytes:
            return None
        return await self._transfers.share(moving, known)

    async def _publish(
        self, writer: ObjectWriter, moving: Moving, target: Datastore
    ) -> list[Mxc]:
        """Make the copy visible."""
        location = writer.location
        if location is None:
            location = target.location_of(self._ids.object_name())
        name = ObjectName(target.id, location)
        intent = Intent(name, moving.sha256_hash)
        await self._intents.add(intent)
        try:
            await writer.publish(name.location)
        except BaseException:
            await self._intents.sweep(intent)
            raise
        return await self._transfers.move(moving, name) or []


@attrs.define
class _Run:
    """One run of one task.

    Attributes:
        placing: Contents that are just being placed: of two alike, the second one finds
            the first.
    """

    transfer: Transfer
    source: Datastore
    target: Datastore
    params: TransferParams
    reporter: TaskReporter
    progress: Progress
    brake: Brake
    placing: dict[str, DeferredLock] = attrs.Factory(dict)

    async def move_all(self) -> None:
        for table in ("media", "thumbnails"):
            after = ""
            while batch := await self.transfer.some(table, self.params, after):
                await self._move_together(batch)
                # Failed ones stay in the source: they are not to be tried for ever.
                after = batch[-1].location

    async def _move_together(self, batch: list[MovableObject]) -> None:
        queue = iter(batch)
        lanes = [Deferred.fromCoroutine(self._lane(queue)) for _ in range(_LANES)]
        results: list[Any] = await DeferredList(lanes, consumeErrors=True)
        # All of them end before the first failure is told.
        for _, result in results:
            if isinstance(result, Failure):
                result.raiseException()

    async def _lane(self, queue: Iterator[MovableObject]) -> None:
        try:
            for item in queue:
                await self._move(item)
        except BaseException:
            # Nobody begins another one.
            for _ in queue:
                pass
            raise

    async def _move(self, item: MovableObject) -> None:
        try:
            await self._copy(item)
        except (_Damaged, ObjectMissing, DatastoreError) as error:
            if isinstance(error, DatastoreError) and error.status == 503:
                # The store is away or full: the next object would fail as well.
                raise TaskFailed(
                    f"stopped after {self.progress.done} objects: {error.message}"
                ) from error
            if not await self.transfer.is_named(self.source, item):
                # It was purged meanwhile.
                return
            logger.error(
                "Not moving object %s of datastore %s: %s",
                item.location,
                self.source.id,
                error or type(error).__name__,
            )
            done = self.progress
            self.progress = attrs.evolve(done, failed=done.failed + 1)
        else:
            done = self.progress
            self.progress = attrs.evolve(
                done, done=done.done + 1, bytes_done=done.bytes_done + item.size_bytes
            )
        await self.reporter.report(self.progress)

    async def _copy(self, item: MovableObject) -> None:
        writer = await self.target.create(item.size_bytes, item.content_type)
        try:
            await self._fill(writer, item)
            sha256 = await writer.seal()
            known = item.sha256_hash
            if known != sha256 and not is_stand_in(known):
                raise _Damaged(f"its hash is {sha256}, not {known} (R102)")
            name = ObjectName(self.source.id, item.location)
            moving = Moving(
                name, known, sha256, item.size_bytes, self.source.is_foreign
            )
            await self._place(writer, moving)
        finally:
            await writer.discard()

    async def _place(self, writer: ObjectWriter, moving: Moving) -> None:
        lock = self.placing.setdefault(moving.sha256_hash, DeferredLock())
        try:
            async with lock:
                await self.transfer.place(writer, moving, self.target)
        finally:
            if not (lock.locked or lock.waiting):
                self.placing.pop(moving.sha256_hash, None)

    async def _fill(self, writer: ObjectWriter, item: MovableObject) -> None:
        stored = await self.source.open(item.location)
        offset = 0
        try:
            if stored.size != item.size_bytes:
                raise _Damaged(f"it has {stored.size} bytes, not {item.size_bytes}")
            while offset < stored.size:
                data = await stored.read(offset, _PIECE_BYTES)
                if not data:
                    raise _Damaged(f"it ends at byte {offset} of {stored.size}")
                await writer.write(data)
                offset += len(data)
                await self.brake.copied(len(data))
        finally:
            await stored.close()
