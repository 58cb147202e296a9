"""An archive on its way in: its manifest first, then its parts in any order.

Everything can be done again: what is here already is passed over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Protocol

from mmr.archives.manifest import MANIFEST_NAME, ManifestError
from mmr.archives.manifest_reader import MAX_MANIFEST_BYTES
from mmr.archives.part_process import PartProcess, PartUnread
from mmr.archives.reader import Refused
from mmr.archives.unpack import ArchiveError
from mmr.datastores.base import Datastore
from mmr.datastores.registry import Datastores
from mmr.datastores.s3_urls import locate
from mmr.media.adopted import AdoptedMedia, AdoptOutcome, length_fault
from mmr.tasks.archive_part import PartStream, Wanted, read_again, spooled
from mmr.tasks.archive_records import REFUSED, ArchiveRecords
from mmr.types import Mxc
from mmr.util.lanes import Lanes
from mmr.util.memory_file import Payload, SharedFile
from mmr.util.threads import Runner

_BATCH_FILES = 512
_BATCH_BYTES = 12 * 1024 * 1024
# Each is an open file.
_BATCH_WINDOWS = 16
# What is on its way to the store while the next is unpacked.
_AT_ONCE = 5


class Keeper(Protocol):
    """Keeps media, as `mmr.media.adopt.Adoptions` does."""

    async def adopt(
        self, item: AdoptedMedia, chunks: AsyncIterator[bytes]
    ) -> AdoptOutcome:
        """See there."""
        ...

    async def adopt_small(
        self, files: Sequence[tuple[AdoptedMedia, Payload]]
    ) -> list[AdoptOutcome]:
        """See there."""
        ...

    async def adopt_located(
        self, item: AdoptedMedia, datastore: Datastore, location: str
    ) -> AdoptOutcome:
        """See there."""
        ...


class ArchiveImport:
    """Reads the parts of one archive.

    Args:
        records: What the manifest lists, once it is found.
        datastores: Those that URLs of the manifest may mean; None: there are none.
        threads: Wait for the process that unpacks.
    """

    def __init__(
        self,
        records: ArchiveRecords,
        keeper: Keeper,
        datastores: Datastores | None,
        threads: Runner,
    ) -> None:
        self._records = records
        self._keeper = keeper
        self._datastores = datastores
        self._threads = threads
        self._process = PartProcess()
        self._in_flight: set[Mxc] = set()
        # Found by the reading thread, to be dealt with in the reactor's.
        self._amiss: list[tuple[AdoptedMedia, AdoptOutcome]] = []

    async def find_manifest(self, chunks: AsyncIterator[Payload]) -> bool:
        """Look for the manifest in a part, and take it in.

        Raises:
            ArchiveError: the part can't be read.
            ManifestError: the manifest can't be used.
        """
        part = PartStream(self._process, chunks, _manifest_of, self._threads)
        try:
            async for entry in part:
                if isinstance(entry, Wanted):
                    if entry.size > MAX_MANIFEST_BYTES:
                        raise ManifestError(f"longer than {MAX_MANIFEST_BYTES} bytes")
                    data = entry.data
                    pieces = part.pieces() if data is None else _just(data.read())
                    await self._records.load(pieces)
                    # Most often nothing else is in there.
                    await part.settle()
                    return True
            return False
        finally:
            await part.close()

    async def read_part(self, chunks: AsyncIterator[Payload]) -> None:
        """Import what a part holds of what is wanted.

        Raises:
            ArchiveError: the rest of it can't be read. What came before is imported.
            MatrixError: our database or datastore doesn't work.
        """
        part = PartStream(self._process, chunks, self._find, self._threads)
        fault: ArchiveError | None = None
        try:
            async with Lanes(_AT_ONCE) as lanes:
                try:
                    fault = await self._walk(part, lanes)
                except BaseException:
                    part.stop()
                    raise
        finally:
            amiss, self._amiss = self._amiss, []
            self._in_flight.clear()
            await part.close()
        await self._records.settle(amiss)
        if fault is not None:
            raise fault

    async def rest(self) -> None:
        """End the process that unpacks; the next part starts another."""
        await self._threads.run(self._process.end)

    async def adopt_urls(self) -> None:
        """Have a look at our buckets for what no part held. Nothing is copied."""
        if self._datastores is None:
            return
        async for batch in self._records.with_urls():
            for item, url in batch:
                place = locate(self._datastores.places(), url)
                if place is not None:
                    datastore = self._datastores.get(place[0])
                    outcome = await self._keeper.adopt_located(
                        item, datastore, place[1]
                    )
                    await self._records.settle([(item, outcome)])

    async def _walk(
        self, part: PartStream[list[AdoptedMedia]], lanes: Lanes
    ) -> ArchiveError | None:
        """Have all entries kept. Gives what ended it early, if anything did."""
        batch: list[tuple[AdoptedMedia, Payload]] = []
        # What the batch keeps in memory: all that was unpacked with a part of it.
        size = 0
        window: SharedFile | None = None
        windows = 0
        fault: ArchiveError | None = None
        try:
            async for entry in part:
                if isinstance(entry, Refused):
                    self._records.tell(REFUSED, entry.name, entry.reason)
                elif entry.data is None:
                    keeping = self._keep_large(entry.by, part)
                    await part.passed(await lanes.start(keeping))
                else:
                    batch += [(item, entry.data) for item in entry.by]
                    if entry.data.file is not window:
                        window = entry.data.file
                        windows += 1
                        size += window.size
                if (
                    len(batch) >= _BATCH_FILES
                    or size >= _BATCH_BYTES
                    or windows >= _BATCH_WINDOWS
                ):
                    await lanes.start(self._keep_small(batch))
                    batch, size, window, windows = [], 0, None, 0
        except ArchiveError as error:
            fault = error
        await lanes.start(self._keep_small(batch))
        return fault

    def _find(
        self, entries: Collection[tuple[str, int]]
    ) -> dict[str, list[AdoptedMedia]]:
        """What entries of a part are wanted for. Called in a pool thread."""
        wanted: dict[str, list[AdoptedMedia]] = {}
        sizes = dict(entries)
        for name, item in self._records.find(sizes):
            # A second entry of the same name, while the first is on its way.
            if item.mxc in self._in_flight:
                continue
            fault = length_fault(item, sizes[name])
            if fault is not None:
                self._amiss.append((item, fault))
                continue
            self._in_flight.add(item.mxc)
            wanted.setdefault(name, []).append(item)
        return wanted

    async def _keep_small(self, files: Sequence[tuple[AdoptedMedia, Payload]]) -> None:
        outcomes = await self._keeper.adopt_small(files)
        media = [item for item, _ in files]
        await self._records.settle(list(zip(media, outcomes, strict=True)))
        self._in_flight.difference_update(item.mxc for item in media)

    async def _keep_large(
        self, media: list[AdoptedMedia], part: PartStream[list[AdoptedMedia]]
    ) -> None:
        try:
            if len(media) == 1:
                outcome = await self._keeper.adopt(media[0], part.pieces())
                await self._records.settle([(media[0], outcome)])
            else:
                await self._keep_copies(media, part)
        except (ArchiveError, PartUnread):
            # Whoever reads the part meets it as well.
            return
        self._in_flight.difference_update(item.mxc for item in media)

    async def _keep_copies(
        self, media: list[AdoptedMedia], part: PartStream[list[AdoptedMedia]]
    ) -> None:
        async with spooled(part.pieces(), self._threads) as file:
            for item in media:
                again = read_again(file, self._threads)
                outcome = await self._keeper.adopt(item, again)
                await self._records.settle([(item, outcome)])


def _manifest_of(entries: Collection[tuple[str, int]]) -> dict[str, bool]:
    return {name: True for name, _ in entries if name == MANIFEST_NAME}


async def _just(data: bytes) -> AsyncIterator[bytes]:
    yield data
