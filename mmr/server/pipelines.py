"""Uploads, downloads, thumbnails: the media pipelines and what they share."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Any

from mmr.cache.records import RecordCache
from mmr.media.blurhashes import Blurhashes
from mmr.media.commit import ObjectCommitter
from mmr.media.content import Content
from mmr.media.downloads import DownloadRules, Downloads
from mmr.media.expiry import BlurhashExpiry, ThumbnailExpiry
from mmr.media.failures import RemoteFailures
from mmr.media.info import MediaInfo
from mmr.media.last_access import LastAccess
from mmr.media.pending_expiry import PendingExpiry
from mmr.media.placeholder import Placeholder
from mmr.media.readiness import Readiness
from mmr.media.records import MediaRecords
from mmr.media.remote import RemoteMedia
from mmr.media.scanning import Scanning
from mmr.media.source import SourceFiles
from mmr.media.sweep import Sweep
from mmr.media.thumbnails import Thumbnails
from mmr.media.uploads import Uploads
from mmr.media.waiters import UploadWaiters
from mmr.server.hooking import Hooking
from mmr.storage.media import MediaRecord
from mmr.storage.thumbnails import ThumbnailRecord
from mmr.types import Mxc

# About a kilobyte each.
_MAX_RECORDS = 50_000


class Pipelines(Hooking):
    """The media rows of one process."""

    @cached_property
    def media_record_cache(self) -> RecordCache[Mxc, MediaRecord]:
        return RecordCache(_MAX_RECORDS, self.announce_record)

    @cached_property
    def media_records(self) -> MediaRecords:
        return MediaRecords(self.media_record_cache, self.stores.media)

    @cached_property
    def content(self) -> Content:
        return Content(self.content_cache, self.datastores)

    @cached_property
    def source_files(self) -> SourceFiles:
        return SourceFiles(self.content)

    @cached_property
    def waiters(self) -> UploadWaiters:
        return UploadWaiters(self.clock, self.announce_upload)

    @cached_property
    def last_access(self) -> LastAccess:
        return LastAccess(self.stores.last_access)

    @cached_property
    def placeholder(self) -> Placeholder:
        return Placeholder(self.files)

    @cached_property
    def committer(self) -> ObjectCommitter:
        return ObjectCommitter(
            self.db, self.stores.media, self.stores.intents, self.datastores, self.ids
        )

    @cached_property
    def scanning(self) -> Scanning:
        return Scanning(self.hooks, self.files)

    @cached_property
    def uploads(self) -> Uploads:
        return Uploads(
            db=self.db,
            media=self.stores.media,
            media_ids=self.stores.media_ids,
            pending=self.stores.pending,
            quotas=self.stores.quotas,
            datastores=self.datastores,
            committer=self.committer,
            records=self.media_records,
            waiters=self.waiters,
            ids=self.ids,
            clock=self.clock,
            freeze=self._freeze,
            scanning=self.scanning,
        )

    @cached_property
    def downloads(self) -> Downloads:
        return Downloads(
            records=self.media_records,
            pending=self.stores.pending,
            waiters=self.waiters,
            remote=self.remote_media,
            last_access=self.last_access,
            clock=self.clock,
            rules=DownloadRules(self._freeze, self._ignored_hosts, self._is_ours),
        )

    @cached_property
    def remote_media(self) -> RemoteMedia:
        return RemoteMedia(
            source=self.federation.media,
            media=self.stores.media,
            records=self.media_records,
            datastores=self.datastores,
            committer=self.committer,
            failures=RemoteFailures(self.clock),
            clock=self.clock,
            max_fetches=lambda: self.config.downloads.num_workers,
            freeze=self._freeze,
            scanning=self.scanning,
            leases=self.leases,
        )

    @cached_property
    def thumbnail_records(self) -> RecordCache[Any, ThumbnailRecord]:
        return RecordCache(_MAX_RECORDS, self.announce_record)

    @cached_property
    def thumbnails(self) -> Thumbnails:
        return Thumbnails(
            db=self.db,
            media=self.stores.media,
            store=self.stores.thumbnails,
            cache=self.thumbnail_records,
            sources=self.source_files,
            datastores=self.datastores,
            committer=self.committer,
            pool=self.thumbnail_pool,
            clock=self.clock,
            freeze=self._freeze,
            leases=self.leases,
        )

    @cached_property
    def thumbnail_expiry(self) -> ThumbnailExpiry:
        return ThumbnailExpiry(
            db=self.db,
            media=self.stores.media,
            thumbnails=self.stores.thumbnails,
            records=self.thumbnail_records,
            clock=self.clock,
            days=lambda: self.config.thumbnails.expire_after_days,
            our_servers=lambda: self.config.domains.keys(),
        )

    @cached_property
    def blurhashes(self) -> Blurhashes:
        return Blurhashes(
            self.media_records,
            self.stores.blurhashes,
            self.source_files,
            self.thumbnail_pool,
        )

    @cached_property
    def blurhash_expiry(self) -> BlurhashExpiry:
        return BlurhashExpiry(self.stores.blurhashes)

    @cached_property
    def media_info(self) -> MediaInfo:
        return MediaInfo(self.stores.thumbnails, self.source_files, self.thumbnail_pool)

    @cached_property
    def sweep(self) -> Sweep:
        return Sweep(self.stores.intents, self.stores.object_deletes, self.datastores)

    @cached_property
    def pending_expiry(self) -> PendingExpiry:
        return PendingExpiry(self.stores.pending, self.clock)

    @cached_property
    def readiness(self) -> Readiness:
        return Readiness(self.db, self.datastores, self.clock)

    def _freeze(self) -> bool:
        return self.config.repo.freeze_unauthenticated_media

    def _ignored_hosts(self) -> Collection[str]:
        return self.config.federation.ignored_hosts
