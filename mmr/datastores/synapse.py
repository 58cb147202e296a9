"""A Synapse's media store, served where it is: it is only read, never changed.

The location of an object is its path below ``media_store_path``, which is also its key
in the bucket of synapse-s3-storage-provider (synapse-internals §2.3, §2.4).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from mmr.datastores.base import (
    OCTET_STREAM,
    BadLocation,
    DatastoreError,
    ObjectMissing,
    ObjectWriter,
    StoredObject,
)
from mmr.datastores.file import FileDatastore
from mmr.datastores.s3 import S3Datastore
from mmr.types import Kind

logger = logging.getLogger(__name__)

_TOPS = ("local_content", "remote_content")


class SynapseDatastore:
    """Local and remote media of a Synapse; its thumbnails and previews are not ours.

    Args:
        id: The operator's name for it.
        folders: ``media_store_path``, then the folders of ``file_system`` providers.
        bucket: That of the S3 provider, asked for what is in no folder.
        prefix: What the keys in the bucket begin with.
    """

    kinds: frozenset[Kind] = frozenset()
    is_foreign = True

    def __init__(
        self,
        id: str,
        folders: Sequence[FileDatastore],
        bucket: S3Datastore | None = None,
        prefix: str = "",
    ) -> None:
        self.id = id
        self._folders = tuple(folders)
        self._bucket = bucket
        self._prefix = prefix

    def location_of(self, object_name: str) -> str:
        """See `Datastore.location_of`: there are no new objects."""
        raise self._read_only()

    async def create(
        self, expected_bytes: int | None = None, content_type: str = OCTET_STREAM
    ) -> ObjectWriter:
        """See `Datastore.create`: there are no new objects."""
        raise self._read_only()

    async def open(self, location: str) -> StoredObject:
        """See `Datastore.open`. The first place that has it counts."""
        if location.partition("/")[0] not in _TOPS:
            raise BadLocation(self.id, location, f"it is in none of {', '.join(_TOPS)}")
        for store, name in self._places(location):
            try:
                return await store.open(name)
            except BadLocation:
                raise
            except ObjectMissing:
                continue
        raise ObjectMissing(location)

    async def delete(self, location: str) -> bool:
        """See `Datastore.delete`: the file is Synapse's, and stays."""
        logger.info(
            "Left %s of datastore %r where it is: nothing names it here any more, but"
            " the file is Synapse's",
            location,
            self.id,
        )
        return False

    async def check(self) -> None:
        """See `Datastore.check`."""
        for store in self._folders:
            await store.check()
        if self._bucket is not None:
            await self._bucket.check()

    async def probe(self) -> None:
        """See `Datastore.probe`: there are no new objects."""
        raise self._read_only()

    async def sweep_temporary(self, older_than_s: float) -> int:
        """See `Datastore.sweep_temporary`: nothing here is ours."""
        return 0

    async def keys(self, after: str = "") -> tuple[list[tuple[str, int]], bool]:
        """For the consistency check: what no row names is Synapse's own business."""
        return [], False

    async def size_of(self, location: str) -> int | None:
        """Bytes of an object, or None when it isn't there."""
        try:
            stored = await self.open(location)
        except ObjectMissing:
            return None
        await stored.close()
        return stored.size

    def _places(
        self, location: str
    ) -> Iterator[tuple[FileDatastore | S3Datastore, str]]:
        for folder in self._folders:
            yield folder, location
        if self._bucket is not None:
            yield self._bucket, self._prefix + location

    def _read_only(self) -> DatastoreError:
        return DatastoreError(
            f"datastore {self.id!r} is a Synapse's media store, which is only read"
        )
