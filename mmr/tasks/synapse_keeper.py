"""Media that moves into a Synapse: files into its folder, then rows into its tables.

In this order, each durable before the next: a row without a file would be a broken
picture, a file without a row is found and replaced by the next run.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import attrs

from twisted.internet.defer import Deferred

from mmr.datastores.file import FileDatastore
from mmr.interop.foreign_database import RowRefused
from mmr.interop.synapse_database import SynapseMedia
from mmr.interop.synapse_rows import NewSynapseMedia, SynapseRows
from mmr.interop.synapse_store import UnsafeName
from mmr.media.adopted import AdoptedBody, AdoptedMedia, Adoption, AdoptOutcome
from mmr.tasks.synapse_thumbnails import Drawn, SynapseThumbnails, objects_of
from mmr.types import Mxc
from mmr.util.threads import Runner

_MAX_GROUP = 256
_MAX_GROUP_BYTES = 16 * 1024 * 1024
# One writes files while the other talks to the database.
_AT_ONCE = 2
_QUARANTINED_BY = "system"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FILE_ID_LENGTH = 24


@attrs.define(eq=False)
class _Arrival:
    """One media that waits for its group.

    Attributes:
        data: None: its file is in its place already.
    """

    media: SynapseMedia
    sha256: str
    data: bytes | None
    result: Deferred[AdoptOutcome]
    thumbnails: list[Drawn] = attrs.Factory(list)

    @property
    def paths(self) -> list[str]:
        return [self.media.path, *(each.path for each in self.thumbnails)]


class SynapseKeeper:
    """Puts media into a Synapse, many at once.

    Args:
        store: Synapse's media folder.
        rows: Its database.
        server_name: The origin of its local media.
        threads: Where the database is talked to: one thread.
        thumbnails: Draws them; None: Synapse gets none.
    """

    def __init__(
        self,
        store: FileDatastore,
        rows: SynapseRows,
        server_name: str,
        *,
        threads: Runner,
        thumbnails: SynapseThumbnails | None,
    ) -> None:
        self._store = store
        self._rows = rows
        self._server_name = server_name
        self._threads = threads
        self._thumbnails = thumbnails
        self._waiting: deque[_Arrival] = deque()
        self._running = 0

    async def find_taken(self, media: Sequence[Mxc]) -> set[Mxc]:
        """Those that Synapse has already."""
        return await self._threads.run(self._rows.find_taken, media)

    async def find(self, media: Sequence[Mxc]) -> dict[Mxc, SynapseMedia]:
        """The rows of those that Synapse has already."""
        return await self._threads.run(self._rows.find, media)

    async def adopt(
        self, item: AdoptedMedia, chunks: AsyncIterator[bytes]
    ) -> AdoptOutcome:
        """Keep one media, unless Synapse has it. Durable when this returns.

        Raises:
            DatastoreError: the folder can't be written to.
            ForeignDatabaseError: the database doesn't work.
        """
        media = self._row_of(item)
        try:
            path = media.path
        except UnsafeName as error:
            return AdoptOutcome(Adoption.REFUSED, detail=str(error))
        body = AdoptedBody(item, chunks)
        head = await body.head()
        if body.is_over:
            sha256, data = hashlib.sha256(head).hexdigest(), head
        elif await self.find_taken([item.mxc]):
            return _known(item.expected_bytes)
        else:
            sha256, data = await self._put_large(path, head, body), None
        fault = body.fault() or _wrong_hash(item, sha256)
        if fault is not None:
            if data is None:
                await self._store.delete(path)
            return fault
        media = attrs.evolve(media, size_bytes=body.size, sha256_hash=sha256)
        arrival = _Arrival(media, sha256, data, Deferred())
        self._waiting.append(arrival)
        if self._running < _AT_ONCE:
            self._running += 1
            Deferred.fromCoroutine(self._drain())
        return await arrival.result

    async def _put_large(self, path: str, head: bytes, body: AdoptedBody) -> str:
        await self._clear([path])
        writer = await self._store.create()
        try:
            await writer.write(head)
            async for chunk in body:
                await writer.write(chunk)
            sha256 = await writer.seal()
            if body.fault() is None:
                await writer.publish(path)
            return sha256
        finally:
            await writer.discard()

    def _row_of(self, item: AdoptedMedia) -> SynapseMedia:
        is_local = item.origin == self._server_name
        return SynapseMedia(
            mxc=item.mxc,
            is_local=is_local,
            file_id=item.media_id if is_local else _file_id(item.mxc),
            content_type=item.content_type,
            size_bytes=item.expected_bytes,
            created_ts=item.creation_ts,
            upload_name=item.upload_name,
            user_id=item.user_id if is_local else "",
            url_cache=None,
            last_access_ts=item.last_access_ts,
            quarantined_by=_QUARANTINED_BY if item.is_quarantined else None,
            is_protected=item.is_protected,
            requires_auth=bool(item.requires_auth),
            sha256_hash=item.expected_sha256,
        )

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._settle(self._next())
        finally:
            self._running -= 1

    def _next(self) -> list[_Arrival]:
        group: list[_Arrival] = []
        size = 0
        while self._waiting and len(group) < _MAX_GROUP and size < _MAX_GROUP_BYTES:
            group.append(self._waiting.popleft())
            size += len(group[-1].data or b"")
        return group

    async def _settle(self, group: list[_Arrival]) -> None:
        try:
            # Whoever has a row has a file, which isn't ours to replace.
            taken = await self.find_taken([each.media.mxc for each in group])
            known = [each for each in group if each.media.mxc in taken]
            new = [each for each in group if each.media.mxc not in taken]
            await self._place(new)
            outcomes = await self._insert(new)
        except Exception as error:
            for arrival in group:
                arrival.result.errback(error)
        else:
            for arrival in known:
                arrival.result.callback(_known(arrival.media.size_bytes))
            for arrival, outcome in zip(new, outcomes, strict=True):
                arrival.result.callback(outcome)

    async def _place(self, group: list[_Arrival]) -> None:
        small = [
            (each.media.path, each.data) for each in group if each.data is not None
        ]
        await self._put_all(small)
        if self._thumbnails is not None:
            for each in group:
                file = Path(self._store.folders.path_of(each.media.path))
                each.thumbnails = await self._thumbnails.draw(
                    each.media, file, each.sha256
                )
                await self._put_all(objects_of(each.thumbnails))
        paths = [path for each in group for path in each.paths]
        await self._store.files.run(_give_to_owner, self._store.folders.base, paths)

    async def _put_all(self, objects: list[tuple[str, bytes]]) -> None:
        if objects:
            await self._clear([path for path, _ in objects])
            taken = await self._store.take([data for _, data in objects])
            try:
                await taken.put([path for path, _ in objects])
            finally:
                taken.close()

    async def _clear(self, paths: list[str]) -> None:
        """Remove what is there and has no row: a run before this one was cut off."""
        base = self._store.folders.base
        for path in await self._store.files.run(_present, base, paths):
            await self._store.delete(path)

    async def _insert(self, group: list[_Arrival]) -> list[AdoptOutcome]:
        rows = [
            NewSynapseMedia(each.media, [drawn.row for drawn in each.thumbnails])
            for each in group
        ]
        try:
            await self._threads.run(self._rows.insert, rows)
        except RowRefused as error:
            if len(group) > 1:
                return [(await self._insert([each]))[0] for each in group]
            for path in group[0].paths:
                await self._store.delete(path)
            return [AdoptOutcome(Adoption.REFUSED, detail=str(error))]
        return [
            AdoptOutcome(Adoption.STORED, each.media.size_bytes or 0) for each in group
        ]


def _known(size_bytes: int | None) -> AdoptOutcome:
    return AdoptOutcome(Adoption.KNOWN, size_bytes or 0)


def _wrong_hash(item: AdoptedMedia, sha256: str) -> AdoptOutcome | None:
    if item.expected_sha256 in (None, sha256):
        return None
    return AdoptOutcome(
        Adoption.DAMAGED, detail=f"its hash is {sha256}, not {item.expected_sha256}"
    )


def _file_id(mxc: Mxc) -> str:
    """A name on disk that another run would choose as well."""
    digest = hashlib.sha256(str(mxc).encode()).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:_FILE_ID_LENGTH])


def _present(base: str, paths: list[str]) -> list[str]:
    return [path for path in paths if os.path.lexists(os.path.join(base, path))]


def _give_to_owner(base: str, paths: list[str]) -> None:
    """When root puts files into Synapse's folder, they are Synapse's all the same."""
    if os.geteuid() != 0:
        return
    owner = os.stat(base)
    todo = {os.path.join(base, path) for path in paths}
    for path in list(todo):
        while (path := os.path.dirname(path)) != base:
            todo.add(path)
    for path in todo:
        os.chown(path, owner.st_uid, owner.st_gid)
