"""Do rows and objects agree? Looked at from both sides (issue: fsck; R102)."""

from __future__ import annotations

import contextlib
import enum
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol, runtime_checkable

import attrs

from mmr.datastores.base import Datastore, DatastoreError, ObjectMissing
from mmr.datastores.file import FileDatastore
from mmr.storage.consistency import ConsistencyStore, NamedObject
from mmr.storage.objects import ObjectName, is_stand_in
from mmr.types import Mxc
from mmr.util.lanes import together
from mmr.util.threads import Runner

logger = logging.getLogger(__name__)

_BATCH = 500
_AT_ONCE = 8
_PIECE_BYTES = 1024 * 1024


class Fault(enum.Enum):
    """What can be wrong with an object."""

    MISSING = "missing"
    WRONG_SIZE = "wrong size"
    WRONG_HASH = "wrong hash"
    UNREADABLE = "unreadable"
    UNREFERENCED = "unreferenced"


@attrs.frozen
class Finding:
    """One object with which something is wrong.

    Attributes:
        size_bytes: As the store says when nothing refers to it, else as the rows say.
        table: Where it is named; empty when nowhere.
        media: What it belongs to.
        is_quarantined: Purged on purpose, then, when it is missing.
    """

    fault: Fault
    name: ObjectName
    size_bytes: int
    table: str = ""
    media: tuple[Mxc, ...] = ()
    is_quarantined: bool = False


@runtime_checkable
class Listing(Protocol):
    """A datastore that can tell what it has, in the order of keys."""

    async def keys(self, after: str = "") -> tuple[list[tuple[str, int]], bool]:
        """Some keys behind that one, with sizes, and whether there are more."""
        ...

    async def size_of(self, location: str) -> int | None:
        """Bytes of an object, or None when it isn't there."""
        ...


class FolderListing:
    """What is in a file datastore: all but its temporary files."""

    def __init__(self, store: FileDatastore, files: Runner) -> None:
        self._store = store
        self._files = files
        self._walk: Iterator[tuple[str, int]] | None = None

    async def keys(self, after: str = "") -> tuple[list[tuple[str, int]], bool]:
        """See `Listing.keys`. Goes on where the last call ended."""
        if self._walk is None or not after:
            self._walk = self._files_below(self._store.folders.base)
        return await self._files.run(self._next, self._walk)

    async def size_of(self, location: str) -> int | None:
        """See `Listing.size_of`."""
        try:
            stored = await self._store.open(location)
        except ObjectMissing:
            return None
        size = stored.size
        await stored.close()
        return size

    def _next(
        self, walk: Iterator[tuple[str, int]]
    ) -> tuple[list[tuple[str, int]], bool]:
        batch = []
        for item in walk:
            batch.append(item)
            if len(batch) == _BATCH:
                return batch, True
        return batch, False

    def _files_below(self, base: str) -> Iterator[tuple[str, int]]:
        temporary = self._store.folders.temporary
        for folder, folders, names in os.walk(base, onerror=_note_unlisted):
            folders.sort()
            if temporary in (os.path.join(folder, each) for each in folders):
                folders.remove(os.path.basename(temporary))
            for name in sorted(names):
                path = os.path.join(folder, name)
                # The server beside us may have deleted it since.
                with contextlib.suppress(FileNotFoundError):
                    yield os.path.relpath(path, base), os.lstat(path).st_size


def _note_unlisted(error: OSError) -> None:
    logger.error(
        "%s can't be listed: %s. What is in it is not looked at.",
        error.filename,
        error.strerror,
    )


def listing_of(store: Datastore, files: Runner) -> Listing:
    """The way to list a datastore.

    Raises:
        TypeError: when it can't be listed.
    """
    listing: object = store
    if isinstance(store, FileDatastore):
        return FolderListing(store, files)
    if isinstance(listing, Listing):
        return listing
    raise TypeError(f"datastore {store.id!r} can't be listed")


class Consistency:
    """Compares one datastore with the database. Changes nothing.

    Args:
        looked_at: Called with the number of objects after every step.
    """

    def __init__(
        self,
        rows: ConsistencyStore,
        store: Datastore,
        files: Runner,
        looked_at: Callable[[int], None],
    ) -> None:
        self._rows = rows
        self._store = store
        self._listing = listing_of(store, files)
        self._looked_at = looked_at

    async def unreferenced(self) -> AsyncIterator[Finding]:
        """Objects that no row names."""
        after, more = "", True
        while more:
            batch, more = await self._listing.keys(after)
            sizes = dict(batch)
            for start in range(0, len(batch), _BATCH):
                keys = [key for key, _ in batch[start : start + _BATCH]]
                for key in await self._rows.get_unnamed(self._store.id, keys):
                    name = ObjectName(self._store.id, key)
                    yield Finding(Fault.UNREFERENCED, name, sizes[key])
            self._looked_at(len(batch))
            after = batch[-1][0] if batch else ""

    async def broken(self, *, verify: bool) -> AsyncIterator[Finding]:
        """Objects that rows name and that aren't there, or aren't what the rows say.

        One that can't be read is a finding; the log says why.

        Args:
            verify: Read every object and compare its hash.

        Raises:
            DatastoreError: 503: the store is away, so that no object can be looked at.
        """
        for table in ConsistencyStore.TABLES:
            after = ""
            while batch := await self._rows.get_named(
                table, self._store.id, after, _BATCH
            ):
                for start in range(0, len(batch), _AT_ONCE):
                    part = batch[start : start + _AT_ONCE]
                    faults = await together(
                        self._look_at(named, verify) for named in part
                    )
                    for named, fault in zip(part, faults, strict=True):
                        if fault is None:
                            continue
                        name = ObjectName(self._store.id, named.location)
                        # Else it was deleted since it was listed.
                        if await self._rows.is_named(table, name):
                            yield await self._finding(table, named, name, fault)
                    self._looked_at(len(part))
                after = batch[-1].location

    async def _look_at(self, named: NamedObject, verify: bool) -> Fault | None:
        try:
            return await (self._verify(named) if verify else self._measure(named))
        except ObjectMissing:
            return Fault.MISSING
        except DatastoreError as error:
            if error.status == 503:
                raise
            return Fault.UNREADABLE

    async def _measure(self, named: NamedObject) -> Fault | None:
        size = await self._listing.size_of(named.location)
        if size is None:
            return Fault.MISSING
        return None if size == named.size_bytes else Fault.WRONG_SIZE

    async def _verify(self, named: NamedObject) -> Fault | None:
        stored = await self._store.open(named.location)
        try:
            if stored.size != named.size_bytes:
                return Fault.WRONG_SIZE
            digest = hashlib.sha256()
            offset = 0
            while offset < stored.size:
                data = await stored.read(offset, _PIECE_BYTES)
                if not data:
                    return Fault.WRONG_SIZE
                digest.update(data)
                offset += len(data)
        finally:
            await stored.close()
        # Export parts and very old thumbnails have no hash.
        is_right = named.sha256_hash in ("", digest.hexdigest()) or is_stand_in(
            named.sha256_hash
        )
        return None if is_right else Fault.WRONG_HASH

    async def _finding(
        self, table: str, named: NamedObject, name: ObjectName, fault: Fault
    ) -> Finding:
        media = await self._rows.get_media_of(name)
        return Finding(
            fault,
            name,
            named.size_bytes,
            table,
            tuple(mxc for mxc, _ in media),
            any(quarantined for _, quarantined in media),
        )
