"""Clears what crashes, failures and deletions leave behind (design §6, R95, R101)."""

from __future__ import annotations

import logging

from mmr.datastores.base import BadLocation, DatastoreError
from mmr.datastores.registry import Datastores
from mmr.storage.intents import IntentStore
from mmr.storage.object_deletes import ObjectDeleteStore
from mmr.storage.objects import ObjectName

logger = logging.getLogger(__name__)

# An upload may take a while between its intent and its commit. What is older than
# this belongs to nobody who is still running.
SWEEP_AGE_S = 3600
_BATCH = 500


class Sweep:
    """Gives up old intents and temporary files, and deletes queued objects."""

    def __init__(
        self,
        intents: IntentStore,
        deletes: ObjectDeleteStore,
        datastores: Datastores,
    ) -> None:
        self._intents = intents
        self._deletes = deletes
        self._datastores = datastores

    async def sweep(self, older_than_s: float = SWEEP_AGE_S) -> int:
        """Give up unfinished uploads that are older than that.

        Returns:
            How many objects were queued for deletion.
        """
        for datastore in self._datastores:
            removed = await datastore.sweep_temporary(older_than_s)
            if removed:
                logger.info("Removed %d temporary files of %s", removed, datastore.id)
        given_up = 0
        while batch := await self._intents.get_old(int(older_than_s * 1000), _BATCH):
            for intent in batch:
                given_up += await self._intents.sweep(intent)
        if given_up:
            logger.info("Gave up %d objects of unfinished uploads", given_up)
        return given_up

    async def delete_queued(self) -> int:
        """Delete the objects that nothing refers to any more.

        Returns:
            How many are gone.
        """
        gone = 0
        while batch := await self._deletes.get_due(_BATCH):
            gone += sum([await self.delete_now(name) for name in batch])
        return gone

    async def delete_now(self, name: ObjectName) -> bool:
        """Delete a queued object; tells whether it is gone. Else it stays queued."""
        datastore = self._datastores.find(name.datastore_id)
        try:
            if datastore is None:
                raise DatastoreError(
                    f"datastore {name.datastore_id!r} has objects to delete but isn't "
                    "configured any more; configure it with `forKinds: []`"
                )
            await datastore.delete(name.location)
        except BadLocation:
            # Nothing of ours can be there, and no later try will change that.
            logger.warning("Not deleting the refused location %r", name.location)
        except DatastoreError as error:
            await self._deletes.mark_failed(name, str(error))
            return False
        await self._deletes.mark_deleted(name)
        return True
