"""All datastores of the configuration, and which one new objects go to."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Protocol

import attrs

from mmr.config.datastores import DatastoreConfig
from mmr.datastores.base import (
    Datastore,
    DatastoreError,
    DatastoreFull,
    TakesMany,
)
from mmr.datastores.file import FileDatastore
from mmr.datastores.file_hand import FileHand
from mmr.datastores.legacy import id_of
from mmr.datastores.s3 import S3Datastore
from mmr.datastores.s3_options import s3_options
from mmr.datastores.synapse import SynapseDatastore
from mmr.errors import StartupError
from mmr.types import Kind
from mmr.util.clock import Clock
from mmr.util.threads import Runner

logger = logging.getLogger(__name__)

_TOTALS_SECONDS = 5.0

Totals = Callable[[], Awaitable[Mapping[str, int]]]
"""Gives the bytes in each datastore by its id; one without objects may be missing."""


class HasDatastores(Protocol):
    """A homeserver's section of the configuration, or the main one."""

    @property
    def datastores(self) -> Iterable[DatastoreConfig]: ...


@attrs.frozen
class Place:
    """Where a datastore is and what it is for: all that makes it what it is."""

    id: str
    type: str
    opts: Mapping[str, str]
    kinds: frozenset[Kind]

    @property
    def uri(self) -> str:
        """A folder, or ``s3://host/bucket`` (mmr-storage §4.3)."""
        path = self.opts.get("path") or self.opts.get("backupPath")
        if path is not None:
            return path
        return f"s3://{self.opts['endpoint']}/{self.opts['bucketName']}"


class Provider(Protocol):
    """Makes the datastores of one ``type``."""

    def __call__(self, place: Place) -> Datastore:
        """Make the object. No I/O: that is `Datastore.check`'s."""
        ...


def file_provider(
    files: Runner, clock: Clock, floor: Callable[[], int], *, with_hands: bool = False
) -> Provider:
    """The provider of ``type: file``. The arguments are those of `FileDatastore`.

    Args:
        with_hands: Each has a `FileHand`: one disk doesn't wait for another.
    """

    def build(place: Place) -> Datastore:
        path = place.opts["path"]
        hand = FileHand() if with_hands else None
        return FileDatastore(
            place.id, place.kinds, path, files, clock, floor, hand=hand
        )

    return build


def s3_provider(
    pool: Runner,
    files: Runner,
    clock: Clock,
    floor: Callable[[], int],
    object_name: Callable[[], str],
) -> Provider:
    """The provider of ``type: s3``. The arguments are those of `S3Datastore`."""

    def build(place: Place) -> Datastore:
        return S3Datastore(
            place.id,
            place.kinds,
            s3_options(place.id, place.opts),
            pool,
            files,
            clock,
            floor,
            object_name=object_name,
        )

    return build


def synapse_provider(
    pool: Runner, files: Runner, clock: Clock, floor: Callable[[], int]
) -> Provider:
    """The provider of ``type: synapse``. The arguments are those of `S3Datastore`."""

    def build(place: Place) -> Datastore:
        opts = place.opts
        paths = [opts[name] for name in ("path", "backupPath") if opts.get(name)]
        folders = [
            # Large stores have a folder at the top linked to another disk.
            FileDatastore(
                place.id, frozenset(), path, files, clock, floor, may_link_tops=True
            )
            for path in paths
        ]
        bucket = None
        if opts.get("bucketName"):
            options = s3_options(place.id, opts)
            bucket = S3Datastore(
                place.id, frozenset(), options, pool, files, clock, floor
            )
        return SynapseDatastore(place.id, folders, bucket, opts.get("prefix", ""))

    return build


class Datastores:
    """One object a datastore id, over the main section and all homeservers.

    Args:
        sections: The main section and every homeserver's.
        providers: By ``type``.
        totals: Reads the maintained totals; asked at most every five seconds (D50).
        clock: For the age of the totals.
        legacy_ids: See `mmr.datastores.legacy.id_of`.

    Raises:
        StartupError: when an entry has no id, or two entries with one id differ.
    """

    def __init__(
        self,
        sections: Iterable[HasDatastores],
        providers: Mapping[str, Provider],
        totals: Totals,
        clock: Clock,
        legacy_ids: Mapping[str, str],
    ) -> None:
        self._providers = providers
        self._read_totals = totals
        self._clock = clock
        self._legacy_ids = legacy_ids
        self._places: dict[str, Place] = {}
        self._datastores: dict[str, Datastore] = {}
        self._totals: Mapping[str, int] = {}
        self._totals_at: float | None = None
        self.update(sections)

    def __iter__(self) -> Iterator[Datastore]:
        return iter(self._datastores.values())

    def update(self, sections: Iterable[HasDatastores]) -> None:
        """Take over a new configuration. Datastores that didn't change are kept.

        Raises:
            StartupError: as the constructor; the old configuration stays then.
        """
        places = self._collect(sections)
        self._datastores = {
            place.id: self._datastores[place.id]
            if self._places.get(place.id) == place
            else self._build(place)
            for place in places.values()
        }
        self._places = places

    def places(self) -> list[Place]:
        """Where each datastore is, by what the configuration says."""
        return list(self._places.values())

    def find(self, datastore_id: str) -> Datastore | None:
        """The datastore of that id, or None when it isn't configured."""
        return self._datastores.get(datastore_id)

    def get(self, datastore_id: str) -> Datastore:
        """The datastore of that id.

        Raises:
            DatastoreError: when it isn't configured.
        """
        datastore = self._datastores.get(datastore_id)
        if datastore is None:
            raise DatastoreError(
                f"datastore {datastore_id!r} is in use by a record but not configured. "
                f"{_how_to_keep_reading(datastore_id)}"
            )
        return datastore

    async def choose(self, kind: Kind, section: HasDatastores) -> Datastore:
        """The datastore for a new object: of those that take the kind, the smallest.

        Raises:
            DatastoreFull: files of other servers only: all have reached their caps.
            DatastoreError: when no datastore of the section takes the kind.
        """
        caps = {
            id_of(entry, self._legacy_ids): entry.remote_media_cap_bytes
            for entry in section.datastores
            if kind in entry.for_kinds
        }
        if not caps:
            raise DatastoreError(
                f"no datastore takes {kind.value}. Add {kind.value} (or all) to "
                "`forKinds` of one of the homeserver's datastores."
            )
        if kind is not Kind.REMOTE_MEDIA:
            caps = dict.fromkeys(caps, 0)
        if len(caps) == 1 and not any(caps.values()):
            return self.get(*caps)
        totals = await self._current_totals()
        fitting = [
            each for each, cap in caps.items() if not cap or totals.get(each, 0) < cap
        ]
        if not fitting:
            raise DatastoreFull(
                f"datastores {', '.join(caps)} take no more files of other servers"
                " (remoteMediaCapBytes)",
                # Not a fault: somebody wants it so.
                logging.DEBUG,
            )
        return self.get(min(fitting, key=lambda each: totals.get(each, 0)))

    def check_ids_in_use(self, ids: Iterable[str]) -> None:
        """Refuse to start without a datastore that records point to.

        Raises:
            StartupError: names every one that is missing, and the fix.
        """
        missing = sorted(set(ids) - self._datastores.keys())
        if missing:
            raise StartupError(
                "Records in the database point to datastores that are not configured: "
                f"{', '.join(map(repr, missing))}. {_how_to_keep_reading(missing[0])}"
            )

    def file_folders(self) -> dict[str, str]:
        """Folder to id of every file datastore, for rows from before MMR 1.0 that hold
        absolute paths: only folders that the operator named count (R71).
        """
        return {
            place.opts["path"]: place.id
            for place in self._places.values()
            if place.type == "file"
        }

    async def check(self) -> None:
        """Check every datastore at start. A full one doesn't stop the server: what it
        holds can still be read.

        Raises:
            StartupError: from the first that can't be used.
        """
        for datastore in self:
            try:
                await datastore.check()
            except DatastoreFull:
                logger.warning("datastore %r takes no new objects", datastore.id)

    async def rest(self) -> None:
        """Let go of what only many new objects at once need."""
        stores: list[object] = list(self)
        for store in stores:
            if isinstance(store, TakesMany):
                await store.rest()

    def _collect(self, sections: Iterable[HasDatastores]) -> dict[str, Place]:
        places: dict[str, Place] = {}
        for entry in (entry for section in sections for entry in section.datastores):
            place = Place(
                id_of(entry, self._legacy_ids), entry.type, entry.opts, entry.for_kinds
            )
            other = places.get(place.id, place)
            if (other.type, other.opts) != (place.type, place.opts):
                raise StartupError(
                    f"datastores: two different datastores have the id {place.id!r}. "
                    "Give each its own; records name a datastore by its id."
                )
            places[place.id] = attrs.evolve(place, kinds=place.kinds | other.kinds)
        return places

    def _build(self, place: Place) -> Datastore:
        provider = self._providers.get(place.type)
        if provider is None:
            raise StartupError(
                f"datastore {place.id!r}: type {place.type!r} is not available; "
                f"available: {', '.join(sorted(self._providers))}."
            )
        return provider(place)

    async def _current_totals(self) -> Mapping[str, int]:
        now = self._clock.monotonic()
        if self._totals_at is None or now - self._totals_at >= _TOTALS_SECONDS:
            self._totals = await self._read_totals()
            self._totals_at = now
        return self._totals


def _how_to_keep_reading(datastore_id: str) -> str:
    return (
        f"Add an entry with `id: {datastore_id}` back to `datastores`, with "
        "`forKinds: []` if it shall only be read, or move its objects first."
    )
