"""From media records to an archive (mmr-storage.md §5).

What is in memory at once doesn't depend on how much is exported.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from twisted.internet.defer import Deferred, DeferredList

from mmr.archives.ending import Ending
from mmr.archives.writer import MANIFEST_PART, EntryHead, entry_name
from mmr.datastores.base import ObjectMissing, StoredObject
from mmr.errors import MatrixError
from mmr.media.content import Content
from mmr.storage.export_entries import ExportEntryStore, ExportMedia, MediaPlace
from mmr.tasks.export_entries import Describe, extension_of, known_hash
from mmr.tasks.export_packing import Packer
from mmr.tasks.export_plan import Checkpoint, ExportParts, ExportPlan, Tell
from mmr.util.threads import Runner

_PAGE = 512
_AT_ONCE = 32
_PIECE_BYTES = 256 * 1024
# Whether a part may be given out is looked up by all that is in it.
_MOST_ENTRIES = 50_000
# Datastores may read so much when they open a file.
_SMALL_BYTES = 64 * 1024

Progress = Callable[[Checkpoint], Awaitable[None]]
"""Told often how far it is; may raise, to stop it."""


class _Unreadable(Exception):
    """One media that has to be left out."""


class Exporter:
    """Makes one export.

    Media that can't be read is told of and left out.

    Args:
        rows: Knows the entity's media.
        content: Opens them.
        files: Pool for compression.
    """

    def __init__(
        self,
        plan: ExportPlan,
        parts: ExportParts,
        *,
        rows: ExportEntryStore,
        content: Content,
        describe: Describe,
        files: Runner,
        progress: Progress,
        tell: Tell,
    ) -> None:
        self._plan = plan
        self._parts = parts
        self._rows = rows
        self._content = content
        self._describe = describe
        self._files = files
        self._progress = progress
        self._tell = tell
        self._now = plan.begin
        self._packer = Packer(parts, files, plan.parts, tell)

    async def run(self) -> Checkpoint:
        """Export everything. Tells what came of it.

        Raises:
            MatrixError: 503 when the database or a datastore is away, for instance.
        """
        packer = self._packer
        try:
            await self._walk()
            if self._plan.with_data and (packer.is_open or not packer.finished):
                self._now = await packer.finish_part(self._now)
            await packer.settle()
            await self._write_manifest()
        finally:
            await packer.stop()
            await self._parts.discard()
        return self._now

    async def _walk(self) -> None:
        entity, until_ts = self._plan.entity, self._plan.created_ts
        while page := await self._rows.get_media(
            entity, self._now.place, until_ts, _PAGE
        ):
            for start in range(0, len(page), _AT_ONCE):
                group = page[start : start + _AT_ONCE]
                for media, content in zip(group, await self._load(group), strict=True):
                    await self._add(media, content)
                await self._progress(self._now)

    async def _load(
        self, group: list[ExportMedia]
    ) -> list[bytes | StoredObject | _Unreadable]:
        """Read small files at once, and open the others at the same time."""
        found: list[Any] = [b""] * len(group)
        wanted = [at for at, media in enumerate(group) if self._needs_content(media)]
        small = [at for at in wanted if group[at].size_bytes <= _SMALL_BYTES]
        read = await self._content.read_small([group[at] for at in small])
        for at, data in zip(small, read, strict=True):
            if data is not None:
                found[at] = data
                wanted.remove(at)
        opening = [Deferred.fromCoroutine(self._open(group[at])) for at in wanted]
        results: list[Any] = await DeferredList(opening, consumeErrors=True)
        for at, (is_fine, result) in zip(wanted, results, strict=True):
            if not is_fine:
                result.raiseException()
            found[at] = result
        return found

    def _needs_content(self, media: ExportMedia) -> bool:
        return self._plan.with_data and not media.quarantined

    async def _open(self, media: ExportMedia) -> bytes | StoredObject | _Unreadable:
        try:
            stored = await self._content.open_object(media)
            if stored.size > _PIECE_BYTES:
                return stored
            try:
                return await stored.read(0, stored.size)
            finally:
                await stored.close()
        except (MatrixError, ObjectMissing) as error:
            return _reason(error)

    async def _add(
        self, media: ExportMedia, content: bytes | StoredObject | _Unreadable
    ) -> None:
        mxc = f"mxc://{media.origin}/{media.media_id}"
        place = MediaPlace(media.creation_ts, media.media_id, media.origin)
        now = attrs.evolve(self._now, place=place)
        if media.quarantined:
            self._tell("quarantined", mxc, "it is left out")
            self._now = attrs.evolve(now, skipped=now.skipped + 1)
            return
        try:
            await self._pack(media, content)
        except _Unreadable as error:
            if await self._rows.is_there(media):
                self._tell("failed", mxc, str(error))
                self._now = attrs.evolve(now, failed=now.failed + 1)
            else:
                # It was deleted meanwhile.
                self._now = now
        else:
            bytes_done = now.bytes_done + media.size_bytes
            self._now = attrs.evolve(now, done=now.done + 1, bytes_done=bytes_done)
        is_full = self._packer.payload >= self._plan.target_bytes
        if is_full or self._packer.count >= _MOST_ENTRIES:
            self._now = await self._packer.finish_part(self._now)

    async def _pack(
        self, media: ExportMedia, content: bytes | StoredObject | _Unreadable
    ) -> None:
        if isinstance(content, _Unreadable):
            raise content
        if not self._plan.with_data:
            name = entry_name(media.origin, media.media_id, "")
        elif isinstance(content, bytes):
            if len(content) != media.size_bytes:
                raise _Unreadable("it ends too early")
            name = await self._begin(media, content)
            await self._packer.add(content)
        else:
            try:
                name = await self._copy(media, content)
            finally:
                await content.close()
        await self._packer.list(self._describe(media, name))

    async def _copy(self, media: ExportMedia, stored: StoredObject) -> str:
        """Pack a large file. What is missing at its end is filled with zeros."""
        offset, name = 0, ""
        while offset < stored.size:
            try:
                data = await stored.read(offset, _PIECE_BYTES)
            except (MatrixError, ObjectMissing) as error:
                raise _reason(error) from error
            if not data:
                raise _Unreadable("it ends too early")
            name = name or await self._begin(media, data)
            await self._packer.add(data)
            offset += len(data)
            await self._progress(self._now)
        return name

    async def _begin(self, media: ExportMedia, head: bytes) -> str:
        name = entry_name(media.origin, media.media_id, extension_of(head))
        mtime_s = max(0, media.creation_ts // 1000)
        await self._packer.begin(
            EntryHead(name, media.size_bytes, mtime_s, known_hash(media))
        )
        return name

    async def _write_manifest(self) -> None:
        plan = self._plan
        ending = await self._files.run(Ending, plan.entity, plan.created_ts)
        try:
            async for entries in self._parts.entries():
                await self._files.run(ending.add, entries)
            await self._parts.begin(MANIFEST_PART)
            pieces = ending.encoded()
            while (data := await self._files.run(next, pieces, None)) is not None:
                await self._parts.write(data)
            await self._parts.finish(self._now)
        finally:
            ending.close()


def _reason(error: MatrixError | ObjectMissing) -> _Unreadable:
    """Why a file is left out.

    Raises:
        MatrixError: its store is away: the next file could not be read either.
    """
    if isinstance(error, MatrixError) and error.status == 503:
        raise error
    return _Unreadable(str(error))
