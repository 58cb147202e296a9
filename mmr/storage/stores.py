"""All stores of one database, each made when it is first used."""

from __future__ import annotations

from functools import cached_property

from mmr.storage.attributes import AttributeStore
from mmr.storage.audit import AuditStore
from mmr.storage.blurhashes import BlurhashStore
from mmr.storage.database import Database
from mmr.storage.datastores import DatastoreStore
from mmr.storage.destinations import DestinationStore
from mmr.storage.export_entries import ExportEntryStore
from mmr.storage.exports import ExportStore
from mmr.storage.imports import ImportStore
from mmr.storage.intents import IntentStore
from mmr.storage.last_access import LastAccessStore
from mmr.storage.listing import ListingStore
from mmr.storage.media import MediaStore
from mmr.storage.media_ids import MediaIdStore
from mmr.storage.object_deletes import ObjectDeleteStore
from mmr.storage.pending import PendingStore
from mmr.storage.previews import PreviewStore
from mmr.storage.public_objects import PublicObjectStore
from mmr.storage.quarantine import QuarantineStore
from mmr.storage.quarantine_changes import QuarantineChangeStore
from mmr.storage.quotas import QuotaStore
from mmr.storage.registrations import RegistrationStore
from mmr.storage.removal import RemovalStore
from mmr.storage.selection import SelectionStore
from mmr.storage.tasks import TaskStore
from mmr.storage.thumbnails import ThumbnailStore
from mmr.storage.transfers import TransferStore
from mmr.storage.usage import UsageStore


class Stores:
    """One store a table family."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @cached_property
    def media(self) -> MediaStore:
        return MediaStore(self._db)

    @cached_property
    def blurhashes(self) -> BlurhashStore:
        return BlurhashStore(self._db)

    @cached_property
    def media_ids(self) -> MediaIdStore:
        return MediaIdStore(self._db)

    @cached_property
    def thumbnails(self) -> ThumbnailStore:
        return ThumbnailStore(self._db)

    @cached_property
    def previews(self) -> PreviewStore:
        return PreviewStore(self._db, self.media, self.thumbnails)

    @cached_property
    def pending(self) -> PendingStore:
        return PendingStore(self._db)

    @cached_property
    def quotas(self) -> QuotaStore:
        return QuotaStore(self._db)

    @cached_property
    def intents(self) -> IntentStore:
        return IntentStore(self._db)

    @cached_property
    def object_deletes(self) -> ObjectDeleteStore:
        return ObjectDeleteStore(self._db)

    @cached_property
    def datastores(self) -> DatastoreStore:
        return DatastoreStore(self._db)

    @cached_property
    def last_access(self) -> LastAccessStore:
        return LastAccessStore(self._db)

    @cached_property
    def destinations(self) -> DestinationStore:
        return DestinationStore(self._db)

    @cached_property
    def tasks(self) -> TaskStore:
        return TaskStore(self._db)

    @cached_property
    def transfers(self) -> TransferStore:
        return TransferStore(self._db)

    @cached_property
    def attributes(self) -> AttributeStore:
        return AttributeStore(self._db)

    @cached_property
    def audit(self) -> AuditStore:
        return AuditStore(self._db)

    @cached_property
    def quarantine(self) -> QuarantineStore:
        return QuarantineStore(self._db)

    @cached_property
    def quarantine_changes(self) -> QuarantineChangeStore:
        return QuarantineChangeStore(self._db)

    @cached_property
    def public_objects(self) -> PublicObjectStore:
        return PublicObjectStore(self._db)

    @cached_property
    def registrations(self) -> RegistrationStore:
        return RegistrationStore(self._db)

    @cached_property
    def removal(self) -> RemovalStore:
        return RemovalStore(self._db)

    @cached_property
    def selections(self) -> SelectionStore:
        return SelectionStore(self._db)

    @cached_property
    def listing(self) -> ListingStore:
        return ListingStore(self._db)

    @cached_property
    def usage(self) -> UsageStore:
        return UsageStore(self._db)

    @cached_property
    def imports(self) -> ImportStore:
        return ImportStore(self._db)

    @cached_property
    def exports(self) -> ExportStore:
        return ExportStore(self._db)

    @cached_property
    def export_entries(self) -> ExportEntryStore:
        return ExportEntryStore(self._db)
