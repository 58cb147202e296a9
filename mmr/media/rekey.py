"""Public URLs of quarantined content end: its objects move to new keys (R88).

With ``publicBaseUrl`` a client is sent to a URL that nobody checks and that never ends.
A flag in the database doesn't stop it; that the object is somewhere else does.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping

from mmr.cluster.ids import IdGenerator
from mmr.datastores.base import DatastoreError, ObjectMissing, Public
from mmr.datastores.registry import Datastores
from mmr.storage.intents import Intent, IntentStore
from mmr.storage.objects import ObjectName
from mmr.storage.public_objects import PublicObjectStore
from mmr.storage.transfers import Moving, TransferStore
from mmr.types import Mxc

logger = logging.getLogger(__name__)


class Rekey:
    """Moves objects within their store.

    Args:
        delete: Deletes a queued object now; tells whether it is gone.
        changed: Told of every media whose rows were changed, for the caches.
    """

    def __init__(
        self,
        *,
        store: PublicObjectStore,
        transfers: TransferStore,
        intents: IntentStore,
        datastores: Datastores,
        ids: IdGenerator,
        delete: Callable[[ObjectName], Awaitable[bool]],
        changed: Callable[[Mxc], None],
    ) -> None:
        self._store = store
        self._transfers = transfers
        self._intents = intents
        self._datastores = datastores
        self._ids = ids
        self._delete = delete
        self._changed = changed

    async def run(self, contents: Collection[str]) -> list[Mxc]:
        """End the public URLs of these contents, where they are quarantined.

        Returns:
            Media whose old URL still works, as far as we know.
        """
        public = self._public_stores()
        if not public:
            return []
        still_public: list[Mxc] = []
        for sha256_hash in contents:
            for moving in await self._store.get_quarantined(sha256_hash):
                store = public.get(moving.source.datastore_id)
                if store is not None:
                    still_public += await self._end(store, moving)
        return still_public

    def _public_stores(self) -> Mapping[str, Public]:
        found: dict[str, Public] = {}
        for each in self._datastores:
            store: object = each
            if isinstance(store, Public) and store.is_public:
                found[each.id] = store
        return found

    async def _end(self, store: Public, moving: Moving) -> list[Mxc]:
        source = moving.source
        try:
            changed = await self._move(store, moving)
        except ObjectMissing:
            return []
        except DatastoreError as error:
            logger.error(
                "Quarantined content stays public as %s of datastore %s: %s",
                source.location,
                source.datastore_id,
                error,
            )
            return await self._store.get_media_at(source)
        for mxc in changed:
            self._changed(mxc)
        return [] if await self._delete(source) else changed

    async def _move(self, store: Public, moving: Moving) -> list[Mxc]:
        location = store.location_of(self._ids.object_name())
        target = ObjectName(moving.source.datastore_id, location)
        intent = Intent(target, moving.sha256_hash)
        await self._intents.add(intent)
        try:
            await store.copy(moving.source.location, location)
        except BaseException:
            await self._intents.sweep(intent)
            raise
        return await self._transfers.move(moving, target, keep_source_ms=0) or []
