"""The bytes of a record: from the content cache, else from its datastore."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from mmr.cache.content import ContentCache
from mmr.datastores.base import GivesMany, ObjectMissing, StoredObject
from mmr.datastores.registry import Datastores
from mmr.errors import MatrixError, not_found, unexpected

logger = logging.getLogger(__name__)


class ObjectRow(Protocol):
    """What has to be known of an object to serve it: a media or a thumbnail record."""

    @property
    def datastore_id(self) -> str: ...
    @property
    def location(self) -> str: ...
    @property
    def sha256_hash(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...


class ObjectLost(MatrixError):
    """An object is gone, or isn't what its record says (R102)."""

    def __init__(self, error: MatrixError) -> None:
        super().__init__(error.status, error.errcode, error.message, error.mr_errcode)


Source = bytes | StoredObject

# Up to here one write from memory is cheaper than opening the file and sendfile;
# above, sendfile takes half the CPU and none of our memory (docs/benchmarks.md).
_MAX_FILE_BYTES = 256 * 1024


class Content:
    """Opens what records point at."""

    def __init__(self, cache: ContentCache, datastores: Datastores) -> None:
        self._cache = cache
        self._datastores = datastores

    def source(self, row: ObjectRow) -> bytes | Callable[[], Awaitable[Source]]:
        """The bytes if they are warm, else what opens them when they are needed."""
        data = self.warm(row)
        if data is None:
            return lambda: self._open(row)
        self.count(row)
        return data

    def warm(self, row: ObjectRow) -> bytes | None:
        """The bytes if they are in memory. No wait."""
        return self._cache.get(row.sha256_hash)

    def count(self, row: ObjectRow) -> None:
        """Count a download that was answered from memory."""
        self._cache.note_download(row.sha256_hash)

    async def _open(self, row: ObjectRow) -> Source:
        """Open the object, or read it whole when the content cache wants it."""
        try:
            near = await self._cache.fetch(row.sha256_hash, row.size_bytes)
            if near is not None:
                return near
            stored = await self.open_object(row)
            # What the kernel sends from its own cache is not worth ours.
            is_sent_by_kernel = (
                row.size_bytes > _MAX_FILE_BYTES and stored.fileno() is not None
            )
            if is_sent_by_kernel or not self._cache.wants(
                row.sha256_hash, row.size_bytes
            ):
                return stored
            try:
                data = await stored.read(0, row.size_bytes)
            finally:
                await stored.close()
            if len(data) != row.size_bytes:
                raise unexpected()
            self._cache.put(row.sha256_hash, data)
            return data
        finally:
            self._cache.note_download(row.sha256_hash)

    async def read_small(self, rows: Sequence[ObjectRow]) -> list[bytes | None]:
        """The bytes of small objects, past the cache, where a datastore reads many at
        once; None for every other.
        """
        found: list[bytes | None] = [None] * len(rows)
        places: dict[str, list[int]] = {}
        for at, row in enumerate(rows):
            places.setdefault(row.datastore_id, []).append(at)
        for datastore_id, ats in places.items():
            store: object = self._datastores.find(datastore_id)
            if isinstance(store, GivesMany):
                read = await store.read_small([rows[at].location for at in ats])
                for at, data in zip(ats, read, strict=True):
                    if data is not None and len(data) == rows[at].size_bytes:
                        found[at] = data
        return found

    async def open_object(self, row: ObjectRow) -> StoredObject:
        """Open the object in its datastore, past the cache.

        Raises:
            ObjectLost: with status 404 when it is gone, 500 when it is damaged.
            MatrixError: when the datastore can't tell.
        """
        datastore = self._datastores.get(row.datastore_id)
        try:
            stored = await datastore.open(row.location)
        except ObjectMissing:
            logger.error(
                "Object %s of datastore %s is missing although a record names it. "
                "Restore it from a backup, or purge the record.",
                row.location,
                row.datastore_id,
            )
            raise ObjectLost(not_found()) from None
        if stored.size != row.size_bytes:
            await stored.close()
            logger.error(
                "Object %s of datastore %s has %d bytes, its record says %d: damaged.",
                row.location,
                row.datastore_id,
                stored.size,
                row.size_bytes,
            )
            raise ObjectLost(unexpected())
        return stored
