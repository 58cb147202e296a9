"""What an archive holds, on its way into a Synapse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import attrs

from mmr.datastores.base import Datastore
from mmr.interop.sources import SourceError
from mmr.interop.synapse_database import SynapseMedia
from mmr.media.adopted import AdoptedMedia, Adoption, AdoptOutcome
from mmr.storage.media import MediaRecord
from mmr.storage.objects import ObjectName, stand_in_hash
from mmr.tasks.departing import object_chunks
from mmr.tasks.synapse_keeper import SynapseKeeper
from mmr.types import Mxc
from mmr.util.memory_file import Payload

_DATASTORE = "synapse"


class ArchivedIntoSynapse:
    """A `Home` and a `Keeper` for `mmr.tasks.archive_import`.

    Args:
        requires_auth: Whether all of it is for users only: archives don't say.
    """

    def __init__(self, keeper: SynapseKeeper, requires_auth: bool) -> None:
        self._keeper = keeper
        self._requires_auth = requires_auth

    async def get_several(self, media: Sequence[Mxc]) -> Mapping[Mxc, MediaRecord]:
        """What Synapse has of some ids, in our words."""
        found = await self._keeper.find(media)
        return {mxc: _record(row) for mxc, row in found.items()}

    async def adopt(
        self, item: AdoptedMedia, chunks: AsyncIterator[bytes]
    ) -> AdoptOutcome:
        """See `SynapseKeeper.adopt`."""
        item = attrs.evolve(item, requires_auth=self._requires_auth)
        return await self._keeper.adopt(item, chunks)

    async def adopt_small(
        self, files: Sequence[tuple[AdoptedMedia, Payload]]
    ) -> list[AdoptOutcome]:
        """See `SynapseKeeper.adopt_small`."""
        auth = self._requires_auth
        return await self._keeper.adopt_small(
            [(attrs.evolve(item, requires_auth=auth), data) for item, data in files]
        )

    async def adopt_located(
        self, item: AdoptedMedia, datastore: Datastore, location: str
    ) -> AdoptOutcome:
        """Copy an object of a datastore of mmr's."""
        try:
            return await self.adopt(item, object_chunks(datastore, location))
        except SourceError as error:
            return AdoptOutcome(Adoption.DAMAGED, detail=str(error))


def _record(row: SynapseMedia) -> MediaRecord:
    name = ObjectName(_DATASTORE, row.file_id)
    return MediaRecord(
        origin=row.mxc.origin,
        media_id=row.mxc.media_id,
        upload_name=row.upload_name,
        content_type=row.content_type,
        user_id=row.user_id,
        # Rows of before Synapse 1.128 have none: then the size has to do.
        sha256_hash=row.sha256_hash or stand_in_hash(name),
        size_bytes=row.size_bytes or 0,
        location=name.location,
        creation_ts=row.created_ts,
        quarantined=row.is_quarantined,
        datastore_id=name.datastore_id,
        requires_auth=row.requires_auth,
    )
