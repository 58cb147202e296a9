"""A Synapse's media taken over where it is: records now, bytes when there is time.

The records point into a datastore of type ``synapse``, so everything is served at once;
the task ``storage_migration`` copies it to another datastore later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import attrs

from mmr.interop.synapse_database import SynapseMedia
from mmr.interop.synapse_store import UnsafeName
from mmr.media.adopted import fault_of
from mmr.storage.media import MediaRecord
from mmr.storage.objects import ObjectName, stand_in_hash
from mmr.storage.registrations import Registration, RegistrationStore
from mmr.tasks.synapse_import import PREVIEWS, UNFINISHED, adopted
from mmr.types import Mxc


class Unusable(Exception):
    """A row that can't have a record; the text says why."""


@attrs.define
class InPlaceResult:
    """What became of some rows.

    Attributes:
        new: Records that were added.
        known: Ids that were here already, or were purged here.
        skipped: Rows that stand for no media, by reason.
        faults: Media that can't be served, of the rows that were given last.
    """

    new: int = 0
    known: int = 0
    skipped: Counter[str] = attrs.Factory(Counter)
    faults: list[tuple[Mxc, str]] = attrs.Factory(list)


class InPlace:
    """Registers rows of a Synapse.

    Args:
        changed: Told of each media that became quarantined by it.
    """

    def __init__(
        self, registrations: RegistrationStore, changed: Callable[[Mxc], None]
    ) -> None:
        self._registrations = registrations
        self._changed = changed

    async def register(
        self,
        rows: Sequence[SynapseMedia],
        datastore_id: str,
        result: InPlaceResult,
        *,
        dry_run: bool = False,
    ) -> None:
        """Add records for the rows that stand for media.

        Args:
            rows: Some hundreds at once: they become one transaction.
            dry_run: Only count.

        Raises:
            MatrixError: 503: the database is away.
        """
        batch = []
        result.faults.clear()
        for row in rows:
            if row.is_preview or row.is_unfinished:
                result.skipped[PREVIEWS if row.is_preview else UNFINISHED] += 1
                continue
            try:
                batch.append(registration_of(row, datastore_id))
            except Unusable as error:
                result.faults.append((row.mxc, str(error)))
        if batch:
            new = await (self._count(batch) if dry_run else self._add(batch))
            result.new += new
            result.known += len(batch) - new

    async def _add(self, batch: Sequence[Registration]) -> int:
        done = await self._registrations.register(batch)
        for mxc in done.quarantined:
            self._changed(mxc)
        return len(done.new)

    async def _count(self, batch: Sequence[Registration]) -> int:
        media = {each.mxc for each in batch}
        return len(media - await self._registrations.find_taken(tuple(media)))


def registration_of(row: SynapseMedia, datastore_id: str) -> Registration:
    """The record that a row becomes.

    Its hash is Synapse's own, where it has one; else a stand-in until it is copied.

    Raises:
        Unusable: its id can't be served.
    """
    media = adopted(row)
    fault = fault_of(media)
    if fault is not None:
        raise Unusable(fault)
    try:
        name = ObjectName(datastore_id, row.path)
    except UnsafeName as error:
        raise Unusable(str(error)) from error
    record = MediaRecord(
        origin=media.origin,
        media_id=media.media_id,
        upload_name=media.upload_name,
        content_type=media.content_type,
        user_id=media.user_id,
        sha256_hash=media.expected_sha256 or stand_in_hash(name),
        size_bytes=media.expected_bytes or 0,
        location=name.location,
        creation_ts=media.creation_ts,
        quarantined=media.is_quarantined,
        datastore_id=datastore_id,
        requires_auth=bool(media.requires_auth),
    )
    accessed = media.last_access_ts or media.creation_ts
    return Registration(record, media.is_protected, accessed)
