"""``import_data``: reads the parts of an import as they come (mmr-storage.md §7)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable

import attrs

from mmr.archives.catalogue import State
from mmr.archives.manifest import ManifestError
from mmr.archives.unpack import ArchiveError
from mmr.config import Config
from mmr.datastores.base import DatastoreError, ObjectMissing
from mmr.datastores.registry import Datastores
from mmr.media.adopt import Adoption, Adoptions
from mmr.storage.imports import Import, ImportPart, ImportStore
from mmr.storage.media import MediaStore
from mmr.storage.objects import ObjectName
from mmr.storage.tasks import Progress, Task
from mmr.tasks.archive_import import ArchiveImport
from mmr.tasks.archive_judge import Judge
from mmr.tasks.archive_records import UNREADABLE, ArchiveRecords, Problem
from mmr.tasks.engine import (
    CANCELLED,
    TaskCancelled,
    TaskFailed,
    TaskReporter,
    TaskWaits,
)
from mmr.util.clock import Clock
from mmr.util.memory_file import FileSlice, Payload, SharedFile
from mmr.util.threads import Runner

logger = logging.getLogger(__name__)

NAME = "import_data"
IDLE_MS = 7 * 24 * 3600 * 1000
"""An import to which nothing comes for so long ends by itself."""

_PIECE_BYTES = 4 * 1024 * 1024
_MOST_NAMED = 1000


@attrs.define(eq=False)
class _Open:
    """What this process knows of an import.

    Attributes:
        searched: Parts that hold no manifest.
        read: Parts whose media was imported, as far as it can be.
        manifest: The part that does.
        is_sorted: What is here already was set aside.
        total: How many media the manifest lists.
        problems: How many there were; the first of them are in the log.
    """

    records: ArchiveRecords
    importer: ArchiveImport
    searched: set[int] = attrs.Factory(set)
    read: set[ObjectName] = attrs.Factory(set)
    manifest: int | None = None
    is_sorted: bool = False
    total: int = 0
    problems: int = 0

    @property
    def progress(self) -> Progress:
        tally = self.records.tally
        done = tally[Adoption.STORED.value] + tally[Adoption.KNOWN.value]
        return Progress(done, self.problems, self.total, self.records.size_bytes)


class ImportData:
    """Does imports. Broken off, it begins again with the parts that are left.

    Args:
        config: The configuration of this moment.
    """

    def __init__(
        self,
        *,
        store: ImportStore,
        media: MediaStore,
        adoptions: Adoptions,
        datastores: Datastores,
        files: Runner,
        config: Callable[[], Config],
        clock: Clock,
    ) -> None:
        self._store = store
        self._media = media
        self._adoptions = adoptions
        self._datastores = datastores
        self._files = files
        self._config = config
        self._clock = clock
        self._open: dict[str, _Open] = {}

    async def run(self, task: Task, reporter: TaskReporter) -> None:
        """See `TaskRunner.run`."""
        import_id = str(task.params.get("import_id") or task.params.get("export_id"))
        row = await self._store.get(import_id)
        if row is None:
            raise TaskFailed("its parts are not here: start the import again")
        end: str | None = None
        try:
            await self._read(import_id, row, reporter)
            end = ""
        except TaskFailed as error:
            end = str(error)
            raise
        except TaskCancelled:
            end = CANCELLED
            raise
        except (DatastoreError, OSError) as error:
            # A full disk, a bucket that is away: that passes, or somebody mends it.
            reason = error.message if isinstance(error, DatastoreError) else str(error)
            if row.idle_ms > IDLE_MS:
                end = reason
                raise TaskFailed(reason) from error
            logger.warning("Import task %d waits: %s", task.id, reason)
            raise TaskWaits from error
        finally:
            # Else it waits, or something is away: it goes on with what is known.
            known = self._open.get(import_id)
            if end is not None:
                await self._end(import_id, end)
            await self._rest(known)

    async def sweep(self) -> None:
        """Forget imports that were cancelled while they waited."""
        for import_id in await self._store.get_abandoned():
            await self._end(import_id, "")
        for import_id in list(self._open):
            if await self._store.get(import_id) is None:
                await self._close(import_id)

    async def _rest(self, known: _Open | None) -> None:
        """Nothing is done for a while: processes would be in the way."""
        await self._datastores.rest()
        if known is not None:
            await known.importer.rest()

    async def _end(self, import_id: str, error: str) -> None:
        await self._close(import_id)
        await self._store.end(import_id, self._clock.time_ms(), error)

    async def _close(self, import_id: str) -> None:
        known = self._open.pop(import_id, None)
        if known is not None:
            await known.records.close()

    async def _read(self, import_id: str, row: Import, reporter: TaskReporter) -> None:
        """Read all there is; come back when all media is here, or nothing more comes.

        Raises:
            TaskWaits: more may come.
            TaskFailed: something is not imported.
        """
        known = self._open.get(import_id)
        if known is None:
            known = self._open[import_id] = self._begin(row.task_id)
        while True:
            await self._read_parts(import_id, known, row, reporter)
            if known.records.is_loaded and not await known.records.count(
                State.WANTED, State.DAMAGED
            ):
                break
            # Not by their numbers: that of a part that is gone is given again.
            seen = {part.name for part in row.parts}
            found = await self._store.get(import_id)
            if found is None:
                raise TaskFailed("the import was ended")
            row = found
            if any(part.name not in seen for part in row.parts):
                continue
            if row.is_closed or row.idle_ms > IDLE_MS:
                break
            await reporter.report(known.progress, now=True)
            raise TaskWaits
        await self._finish(known, reporter)

    def _begin(self, task_id: int) -> _Open:
        def tell(problem: Problem) -> None:
            known.problems += 1
            if known.problems <= _MOST_NAMED:
                logger.warning(
                    "Import task %d: %s: %s: %s",
                    task_id,
                    problem.word,
                    problem.what,
                    problem.detail,
                )

        records = ArchiveRecords(
            media=self._media,
            threads=self._files,
            make_judge=lambda header: Judge(header, self._config, self._clock),
            tell=tell,
        )
        importer = ArchiveImport(
            records, self._adoptions, self._datastores, self._files
        )
        known = _Open(records, importer)
        return known

    async def _read_parts(
        self, import_id: str, known: _Open, row: Import, reporter: TaskReporter
    ) -> None:
        """Read what waits, once the manifest is known."""
        if known.manifest is None:
            await self._find_manifest(known, row, reporter)
        if known.manifest is None:
            return
        if not known.is_sorted:
            known.total = await known.records.count()
            await known.records.sort_out()
            known.is_sorted = True
        for part in row.parts:
            if part.name in known.read:
                continue
            before = known.problems
            try:
                await known.importer.read_part(self._bytes_of(part, known, reporter))
            except (ArchiveError, ObjectMissing) as error:
                known.records.tell(UNREADABLE, f"part {part.number}", str(error))
            known.read.add(part.name)
            # Who begins again has to learn once more what can't be kept.
            keep = part.number == known.manifest or known.problems > before
            await self._store.finish_part(import_id, part.number, keep=keep)

    async def _find_manifest(
        self, known: _Open, row: Import, reporter: TaskReporter
    ) -> None:
        for part in row.parts:
            if part.number in known.searched:
                continue
            try:
                found = await known.importer.find_manifest(
                    self._bytes_of(part, known, reporter)
                )
            except (ArchiveError, ObjectMissing):
                # It is named when its media is read.
                found = False
            except ManifestError as error:
                raise TaskFailed(
                    f"part {part.number}: the manifest: {error}"
                ) from error
            if found:
                known.manifest = part.number
                return
            known.searched.add(part.number)

    async def _bytes_of(
        self, part: ImportPart, known: _Open, reporter: TaskReporter
    ) -> AsyncIterator[Payload]:
        datastore = self._datastores.get(part.name.datastore_id)
        stored = await datastore.open(part.name.location)
        try:
            fd = stored.fileno()
            # Whoever is cancelled closes the store's own under the reader.
            file = None if fd is None else SharedFile.copy(fd)
            for offset in range(0, stored.size, _PIECE_BYTES):
                await reporter.report(known.progress)
                if file is None:
                    yield await stored.read(offset, _PIECE_BYTES)
                else:
                    yield FileSlice(file, offset, _PIECE_BYTES)
        finally:
            await stored.close()

    async def _finish(self, known: _Open, reporter: TaskReporter) -> None:
        records = known.records
        if not records.is_loaded:
            raise TaskFailed("no part held a manifest.json")
        await known.importer.adopt_urls()
        await records.tell_missing()
        await reporter.report(known.progress, now=True)
        left = await records.count(State.WANTED, State.DAMAGED, State.FAILED)
        if known.problems > _MOST_NAMED:
            logger.warning("%d more are not named", known.problems - _MOST_NAMED)
        if left or records.tally[UNREADABLE]:
            raise TaskFailed(_complaint(records))


def _complaint(records: ArchiveRecords) -> str:
    words = ", ".join(
        f"{word}: {count}"
        for word, count in sorted(records.tally.items())
        if word not in (Adoption.STORED.value, Adoption.KNOWN.value)
    )
    return f"not all was imported ({words}); the log names each"
