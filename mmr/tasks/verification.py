"""Is what moved in the same as what it was at home?"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from mmr.datastores.base import StoredObject
from mmr.errors import MatrixError
from mmr.media.adopted import AdoptedMedia
from mmr.media.content import Content
from mmr.storage.attributes import AttributeStore, Purpose
from mmr.storage.media import MediaRecord, MediaStore
from mmr.tasks.movable import Handled, Movable
from mmr.util.threads import Runner

_PIECE_BYTES = 1024 * 1024


class Verification:
    """Compares media, byte for byte and field by field.

    Args:
        content: Opens our objects.
        threads: Where bytes are hashed.
    """

    def __init__(
        self,
        media: MediaStore,
        attributes: AttributeStore,
        content: Content,
        threads: Runner,
    ) -> None:
        self._media = media
        self._attributes = attributes
        self._content = content
        self._threads = threads

    async def verify(self, movable: Movable) -> Handled:
        """Compare one media.

        Raises:
            SourceError: when the homeserver doesn't have it.
        """
        media = movable.media
        record = await self._media.get_media(media.origin, media.media_id)
        if record is None:
            return Handled("missing", detail="it is not here")
        if not record.location:
            return Handled("purged here")
        faults = await self._differing_fields(media, record)
        if await self._hash(movable.chunks()) != await self._own_hash(record):
            faults.append("content")
        if faults:
            return Handled("different", detail=f"differs in {', '.join(faults)}")
        return Handled("equal", record.size_bytes)

    async def _differing_fields(
        self, media: AdoptedMedia, record: MediaRecord
    ) -> list[str]:
        purpose = await self._attributes.get_purpose(media.origin, media.media_id)
        pairs = {
            "type": (media.content_type, record.content_type),
            "name": (media.upload_name, record.upload_name),
            "uploader": (media.user_id, record.user_id),
            "time": (media.creation_ts, record.creation_ts),
            "quarantine": (media.is_quarantined, record.quarantined),
            "protection": (media.is_protected, purpose is Purpose.PINNED),
            "authentication": (media.requires_auth, record.requires_auth),
        }
        return [name for name, (theirs, ours) in pairs.items() if theirs != ours]

    async def _own_hash(self, record: MediaRecord) -> str | None:
        """None when there is no object as the record says."""
        try:
            stored = await self._content.open_object(record)
        except MatrixError:
            return None
        try:
            return await self._hash(_pieces(stored))
        finally:
            await stored.close()

    async def _hash(self, chunks: AsyncIterator[bytes]) -> str:
        found = hashlib.sha256()
        async for chunk in chunks:
            await self._threads.run(found.update, chunk)
        return found.hexdigest()


async def _pieces(stored: StoredObject) -> AsyncIterator[bytes]:
    for offset in range(0, stored.size, _PIECE_BYTES):
        yield await stored.read(offset, _PIECE_BYTES)
