"""A Synapse's media taken over where it is: records now, bytes when there is time.

The records point into a datastore of type ``synapse``, so everything is served at once;
the task ``storage_migration`` copies it to another datastore later.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Sequence

import attrs

from mmr.interop.synapse_database import SynapseMedia
from mmr.interop.synapse_store import UnsafeName
from mmr.storage.media import MediaRecord
from mmr.storage.objects import ObjectName, stand_in_hash
from mmr.storage.registrations import Registration, RegistrationStore
from mmr.types import Mxc, is_valid_media_id, is_valid_server_name

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_UNKNOWN_TYPE = "application/octet-stream"


class Skip(enum.Enum):
    """Why a row gets no record."""

    UNFINISHED = "reserved, never uploaded"
    PREVIEW = "fetched for a URL preview"
    UNSAFE = "its id can't be used"


@attrs.define
class InPlaceResult:
    """What became of some rows.

    Attributes:
        new: Records that were added.
        known: Ids that were here already, or were purged here.
        skipped: By reason.
    """

    new: int = 0
    known: int = 0
    skipped: dict[Skip, int] = attrs.Factory(lambda: dict.fromkeys(Skip, 0))


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
    ) -> list[Mxc]:
        """Add records for the rows that stand for media.

        Args:
            rows: Some hundreds at once: they become one transaction.
            dry_run: Only count.

        Returns:
            Media that can't be served, because of its id.

        Raises:
            MatrixError: 503: the database is away.
        """
        batch, unsafe = list[Registration](), list[Mxc]()
        for row in rows:
            found = registration_of(row, datastore_id)
            if isinstance(found, Registration):
                batch.append(found)
                continue
            result.skipped[found] += 1
            if found is Skip.UNSAFE:
                unsafe.append(row.mxc)
        if batch:
            new = await (self._count(batch) if dry_run else self._add(batch))
            result.new += new
            result.known += len(batch) - new
        return unsafe

    async def _add(self, batch: Sequence[Registration]) -> int:
        done = await self._registrations.register(batch)
        for mxc in done.quarantined:
            self._changed(mxc)
        return len(done.new)

    async def _count(self, batch: Sequence[Registration]) -> int:
        media = {each.mxc for each in batch}
        return len(media - await self._registrations.find_taken(tuple(media)))


def registration_of(row: SynapseMedia, datastore_id: str) -> Registration | Skip:
    """The record that a row becomes.

    Its hash is Synapse's own, where it has one; else a stand-in until it is copied.
    """
    if row.size_bytes is None:
        return Skip.UNFINISHED
    if row.is_preview:
        return Skip.PREVIEW
    mxc = row.mxc
    if not (is_valid_media_id(mxc.media_id) and is_valid_server_name(mxc.origin)):
        return Skip.UNSAFE
    try:
        name = ObjectName(datastore_id, row.path)
    except UnsafeName:
        return Skip.UNSAFE
    sha256 = row.sha256_hash or ""
    record = MediaRecord(
        origin=mxc.origin,
        media_id=mxc.media_id,
        upload_name=row.upload_name,
        content_type=row.content_type or _UNKNOWN_TYPE,
        user_id=row.user_id,
        sha256_hash=sha256 if _SHA256.match(sha256) else stand_in_hash(name),
        size_bytes=row.size_bytes,
        location=name.location,
        creation_ts=row.created_ts,
        quarantined=row.quarantined_by is not None,
        datastore_id=datastore_id,
        requires_auth=row.requires_auth,
    )
    accessed = row.last_access_ts or row.created_ts
    return Registration(record, row.is_protected, accessed)
