"""Where the parts of an export go: a datastore, or a folder."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence

import attrs

from mmr.archives.folder import FolderArchive
from mmr.archives.manifest import MediaEntry
from mmr.cluster.ids import IdGenerator
from mmr.datastores.base import Datastore, ObjectWriter
from mmr.datastores.registry import Datastores, HasDatastores
from mmr.storage.export_entries import EntryPlace, ExportEntry
from mmr.storage.exports import ExportPart
from mmr.storage.intents import Intent
from mmr.storage.objects import ObjectName
from mmr.storage.stores import Stores
from mmr.tasks.export_entries import Describe
from mmr.tasks.export_plan import Checkpoint
from mmr.types import Kind
from mmr.util.threads import Runner

_PAGE = 500


@attrs.define
class _OpenPart:
    """A part that isn't finished."""

    index: int
    file_name: str
    datastore: Datastore
    writer: ObjectWriter


class DatastoreParts:
    """Parts as objects of kind ``archives``, committed like any other (design §6).

    Nothing knows what isn't finished: its object was never published, or the sweep
    finds its intent.

    Args:
        finished: Parts that there are.
        section: Whose datastores may take them (D64).
    """

    def __init__(
        self,
        export_id: str,
        finished: int,
        section: HasDatastores,
        *,
        stores: Stores,
        datastores: Datastores,
        ids: IdGenerator,
        describe: Describe,
    ) -> None:
        self._export_id = export_id
        self._finished = finished
        self._section = section
        self._stores = stores
        self._datastores = datastores
        self._ids = ids
        self._describe = describe
        self._part: _OpenPart | None = None
        self._noted = 0

    async def begin(self, file_name: str) -> None:
        """See `ExportParts.begin`."""
        datastore = await self._datastores.choose(Kind.ARCHIVES, self._section)
        writer = await datastore.create()
        self._part = _OpenPart(self._finished + 1, file_name, datastore, writer)

    async def write(self, data: bytes) -> None:
        """See `ExportParts.write`."""
        assert self._part is not None
        await self._part.writer.write(data)

    async def note(self, entries: Sequence[MediaEntry]) -> None:
        """See `ExportParts.note`."""
        rows = [
            ExportEntry(each.origin, each.media_id, each.sha256, each.file_name)
            for each in entries
        ]
        await self._stores.export_entries.add(
            self._export_id, self._finished + 1, self._noted, rows
        )
        self._noted += len(rows)

    async def finish(self, checkpoint: Checkpoint) -> None:
        """See `ExportParts.finish`.

        Raises:
            ExportGone: the export was deleted meanwhile.
        """
        part = self._part
        assert part is not None
        sha256 = await part.writer.seal()
        location = part.datastore.location_of(self._ids.object_name())
        intent = Intent(ObjectName(part.datastore.id, location), sha256)
        await self._stores.intents.add(intent)
        try:
            await part.writer.publish(location)
            await self._stores.exports.add_part(
                self._export_id,
                ExportPart(part.index, part.writer.size, part.file_name, intent.name),
                intent,
                json.dumps(attrs.asdict(checkpoint)),
            )
        except BaseException:
            await self._stores.intents.sweep(intent)
            raise
        self._part, self._noted = None, 0
        self._finished += 1

    async def entries(self) -> AsyncIterator[list[MediaEntry]]:
        """See `ExportParts.entries`."""
        place: EntryPlace | None = EntryPlace()
        while place is not None:
            listed, place = await self._stores.export_entries.get_listed(
                self._export_id, place, _PAGE
            )
            yield [self._describe(media, name) for media, name in listed]

    async def discard(self) -> None:
        """See `ExportParts.discard`."""
        part, self._part = self._part, None
        if part is not None:
            await part.writer.discard()


class FolderParts:
    """Parts as files of a folder.

    Args:
        files: Pool for everything that blocks.
    """

    def __init__(self, archive: FolderArchive, files: Runner) -> None:
        self._archive = archive
        self._files = files
        self._is_last = False

    async def begin(self, file_name: str) -> None:
        """See `ExportParts.begin`."""
        await self._files.run(self._archive.begin_part, file_name)

    async def write(self, data: bytes) -> None:
        """See `ExportParts.write`."""
        await self._files.run(self._archive.write, data)

    async def note(self, entries: Sequence[MediaEntry]) -> None:
        """See `ExportParts.note`."""
        await self._files.run(self._archive.note, entries)

    async def finish(self, checkpoint: Checkpoint) -> None:
        """See `ExportParts.finish`."""
        place = attrs.asdict(checkpoint)
        await self._files.run(self._archive.finish_part, place)

    async def entries(self) -> AsyncIterator[list[MediaEntry]]:
        """See `ExportParts.entries`."""
        batches = self._archive.entries()
        while (batch := await self._files.run(next, batches, None)) is not None:
            yield batch

    async def discard(self) -> None:
        """See `ExportParts.discard`. A later run goes on from the last whole part."""
        self._archive.close()
