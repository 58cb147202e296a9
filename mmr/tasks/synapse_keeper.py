"""Media that moves into a Synapse: what it is there, as a row and a file."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence

from mmr.datastores.file import FileDatastore
from mmr.interop.synapse_database import SynapseMedia
from mmr.interop.synapse_rows import SynapseRows
from mmr.interop.synapse_store import UnsafeName
from mmr.media.adopted import (
    AdoptedBody,
    AdoptedMedia,
    Adoption,
    AdoptOutcome,
    length_fault,
)
from mmr.tasks.synapse_arrivals import Arrival, SynapseArrivals, known
from mmr.tasks.synapse_thumbnails import SynapseThumbnails
from mmr.types import Mxc
from mmr.util.memory_file import Payload, bytes_of
from mmr.util.threads import Runner

_QUARANTINED_BY = "system"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FILE_ID_LENGTH = 24


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
        self._arrivals = SynapseArrivals(
            store, rows, threads=threads, thumbnails=thumbnails
        )

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
        body = AdoptedBody(item, chunks)
        head = await body.head()
        if not body.is_over:
            return await self._adopt_large(item, head, body)
        fault = body.fault()
        if fault is not None:
            return fault
        [outcome] = await self.adopt_small([(item, head)])
        return outcome

    async def adopt_small(
        self, files: Sequence[tuple[AdoptedMedia, Payload]]
    ) -> list[AdoptOutcome]:
        """Keep several small media, as `adopt` does. What waits goes together.

        Returns:
            What became of each.

        Raises:
            DatastoreError: as `adopt`. Some may be there nevertheless.
            ForeignDatabaseError: likewise.
        """
        hashes = await self._store.files.run(_hashes, files)
        made = [
            self._arrival_of(item, len(data), sha256, data)
            for (item, data), sha256 in zip(files, hashes, strict=True)
        ]
        arrivals = [each for each in made if isinstance(each, Arrival)]
        outcomes = iter(await self._arrivals.put(arrivals))
        return [next(outcomes) if isinstance(each, Arrival) else each for each in made]

    async def _adopt_large(
        self, item: AdoptedMedia, head: bytes, body: AdoptedBody
    ) -> AdoptOutcome:
        try:
            path = self._row_of(item, 0, "").path
        except UnsafeName as error:
            return _unsafe(error)
        if await self.find_taken([item.mxc]):
            return known(item.expected_bytes)
        sha256 = await self._put_large(path, head, body)
        arrival = body.fault() or self._arrival_of(item, body.size, sha256, None)
        if isinstance(arrival, AdoptOutcome):
            await self._store.delete(path)
            return arrival
        [outcome] = await self._arrivals.put([arrival])
        return outcome

    async def _put_large(self, path: str, head: bytes, body: AdoptedBody) -> str:
        await self._arrivals.clear([path])
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

    def _arrival_of(
        self, item: AdoptedMedia, size: int, sha256: str, data: Payload | None
    ) -> Arrival | AdoptOutcome:
        """What goes in, or what is wrong with it."""
        media = self._row_of(item, size, sha256)
        try:
            path = media.path
        except UnsafeName as error:
            return _unsafe(error)
        fault = length_fault(item, size) or _wrong_hash(item, sha256)
        return fault or Arrival(media, path, sha256, data)

    def _row_of(self, item: AdoptedMedia, size: int, sha256: str) -> SynapseMedia:
        is_local = item.origin == self._server_name
        return SynapseMedia(
            mxc=item.mxc,
            is_local=is_local,
            file_id=item.media_id if is_local else _file_id(item.mxc),
            content_type=item.content_type,
            size_bytes=size,
            created_ts=item.creation_ts,
            upload_name=item.upload_name,
            user_id=item.user_id if is_local else "",
            url_cache=None,
            last_access_ts=item.last_access_ts,
            quarantined_by=_QUARANTINED_BY if item.is_quarantined else None,
            is_protected=item.is_protected,
            requires_auth=bool(item.requires_auth),
            sha256_hash=sha256,
        )


def _unsafe(error: UnsafeName) -> AdoptOutcome:
    return AdoptOutcome(Adoption.REFUSED, detail=str(error))


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


def _hashes(files: Sequence[tuple[AdoptedMedia, Payload]]) -> list[str]:
    return [hashlib.sha256(bytes_of(data)).hexdigest() for _, data in files]
