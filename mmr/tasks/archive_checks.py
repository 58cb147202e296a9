"""Importing without importing: what a dry run does, and the check afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence

from mmr.datastores.base import Datastore
from mmr.datastores.registry import Datastores
from mmr.media.adopt_located import read_object
from mmr.media.adopt_rows import WrongHash
from mmr.media.adopted import (
    AdoptedBody,
    AdoptedMedia,
    Adoption,
    AdoptOutcome,
    compare,
    length_fault,
)
from mmr.storage.media import MediaRecord
from mmr.util.memory_file import Payload, bytes_of
from mmr.util.threads import Runner


class DryKeeper:
    """Looks at what it is given, and keeps nothing. See `Keeper`."""

    def __init__(self, threads: Runner) -> None:
        self._threads = threads

    async def adopt(
        self, item: AdoptedMedia, chunks: AsyncIterator[bytes]
    ) -> AdoptOutcome:
        """Whether these are the announced bytes."""
        body, digest = AdoptedBody(item, chunks), hashlib.sha256()
        async for chunk in body:
            await self._threads.run(digest.update, chunk)
        return body.fault() or _judged(item, body.size, digest.hexdigest())

    async def adopt_small(
        self, files: Sequence[tuple[AdoptedMedia, Payload]]
    ) -> list[AdoptOutcome]:
        """Likewise."""
        return await self._threads.run(_look_at, files)

    async def adopt_located(
        self, item: AdoptedMedia, datastore: Datastore, location: str
    ) -> AdoptOutcome:
        """Whether the object is there and the announced one."""
        size = item.expected_bytes
        try:
            found = await read_object(datastore, location, size, self._threads)
        except WrongHash as error:
            return AdoptOutcome(Adoption.DAMAGED, detail=str(error))
        return _judged(item, found.size_bytes, found.sha256_hash)


class Verification:
    """Compares what is here, byte for byte, with what the manifest says."""

    def __init__(self, datastores: Datastores, threads: Runner) -> None:
        self._datastores = datastores
        self._threads = threads

    async def check(self, item: AdoptedMedia, record: MediaRecord) -> AdoptOutcome:
        """See `mmr.tasks.archive_records.Check`."""
        outcome = compare(item, record)
        # A quarantined object may be purged; its record stays.
        if not outcome.is_here or not record.location:
            return outcome
        datastore = self._datastores.get(record.datastore_id)
        size = record.size_bytes
        try:
            found = await read_object(datastore, record.location, size, self._threads)
        except WrongHash as error:
            return AdoptOutcome(Adoption.DAMAGED, detail=str(error))
        wanted = item.expected_sha256 or record.sha256_hash
        if found.sha256_hash != wanted:
            return AdoptOutcome(
                Adoption.DAMAGED, detail=f"the hash of the file here is not {wanted}"
            )
        return outcome


def _look_at(files: Sequence[tuple[AdoptedMedia, Payload]]) -> list[AdoptOutcome]:
    return [
        length_fault(item, len(data))
        or _judged(item, len(data), hashlib.sha256(bytes_of(data)).hexdigest())
        for item, data in files
    ]


def _judged(item: AdoptedMedia, size: int, sha256: str) -> AdoptOutcome:
    if item.expected_sha256 not in (None, sha256):
        return AdoptOutcome(
            Adoption.DAMAGED, detail=f"its hash is {sha256}, not {item.expected_sha256}"
        )
    return AdoptOutcome(Adoption.STORED, size)
