"""Our own media, as it moves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial

from mmr.datastores.base import (
    Datastore,
    DatastoreError,
    ObjectMissing,
    StoredObject,
)
from mmr.datastores.file import SMALL_BYTES
from mmr.datastores.registry import Datastores
from mmr.interop.sources import SourceError
from mmr.media.adopted import AdoptedMedia
from mmr.media.content import Content
from mmr.storage.departures import Departure, DepartureStore
from mmr.storage.objects import is_stand_in
from mmr.tasks.movable import Batch, Movable

PURGED = "skipped: purged, only its quarantine is left"
_BATCH_ROWS = 1000
_PIECE_BYTES = 256 * 1024


class Departing:
    """Says what there is to move.

    Args:
        content: Reads many small objects at once.
        origin: Media of this server; None: all media.
    """

    def __init__(
        self,
        store: DepartureStore,
        datastores: Datastores,
        content: Content,
        origin: str | None,
    ) -> None:
        self._store = store
        self._datastores = datastores
        self._content = content
        self._origin = origin

    async def count(self) -> int:
        """How many records there are."""
        return await self._store.count(self._origin)

    async def batches(self) -> AsyncIterator[Batch]:
        """All of them."""
        after = None
        while rows := await self._store.page(self._origin, after, _BATCH_ROWS):
            after = rows[-1].mxc
            media = [self._movable(row) for row in rows if row.location]
            purged = Counter({PURGED: len(rows) - len(media)})
            yield Batch(media, purged, self._read_small)

    def _movable(self, row: Departure) -> Movable:
        return Movable(
            AdoptedMedia(
                origin=row.origin,
                media_id=row.media_id,
                content_type=row.content_type,
                upload_name=row.upload_name,
                user_id=row.user_id,
                creation_ts=row.creation_ts,
                last_access_ts=row.last_access_ts,
                is_quarantined=row.is_quarantined,
                is_protected=row.is_pinned,
                requires_auth=row.requires_auth,
                expected_sha256=(
                    None if is_stand_in(row.sha256_hash) else row.sha256_hash
                ),
                expected_bytes=row.size_bytes,
            ),
            partial(self._read, row),
            partial(self._probe, row),
            row,
        )

    async def _read_small(self, media: Sequence[Movable]) -> list[bytes | None]:
        found: list[bytes | None] = [None] * len(media)
        ats = [
            at for at, each in enumerate(media) if each.row.size_bytes <= SMALL_BYTES
        ]
        read = await self._content.read_small([media[at].row for at in ats])
        for at, data in zip(ats, read, strict=True):
            found[at] = data
        return found

    def _read(self, row: Departure) -> AsyncIterator[bytes]:
        return object_chunks(self._store_of(row), row.location)

    async def _probe(self, row: Departure) -> None:
        stored = await _open(self._store_of(row), row.location)
        await stored.close()
        if stored.size != row.size_bytes:
            raise SourceError(
                f"its object has {stored.size} bytes, its record {row.size_bytes}"
            )

    def _store_of(self, row: Departure) -> Datastore:
        store = self._datastores.find(row.datastore_id)
        if store is None:
            raise SourceError(f"datastore {row.datastore_id!r} is not configured")
        return store


async def object_chunks(datastore: Datastore, location: str) -> AsyncIterator[bytes]:
    """The bytes of an object.

    Raises:
        SourceError: when they can't be had.
    """
    stored = await _open(datastore, location)
    try:
        for offset in range(0, stored.size, _PIECE_BYTES):
            yield await stored.read(offset, _PIECE_BYTES)
    except DatastoreError as error:
        raise SourceError(str(error)) from error
    finally:
        await stored.close()


async def _open(datastore: Datastore, location: str) -> StoredObject:
    try:
        return await datastore.open(location)
    except ObjectMissing:
        raise SourceError(
            f"datastore {datastore.id!r} has no object {location}"
        ) from None
    except DatastoreError as error:
        raise SourceError(str(error)) from error
