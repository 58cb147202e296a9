"""The server object: builds each collaborator once, on first use."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import attrs

from twisted.internet.interfaces import IReactorFromThreads, IReactorThreads

from mmr.auth.authenticator import Authenticator
from mmr.auth.federation import XMatrixVerifier
from mmr.auth.homeserver import HomeserverClients
from mmr.auth.lookup_limit import LookupLimit
from mmr.auth.sessions import Sessions
from mmr.auth.tokens import TokenCache
from mmr.cache.content import (
    SWEEP_SECONDS,
    ContentCache,
    InProcessContentCache,
    NoContentCache,
)
from mmr.cache.records import RecordCache
from mmr.cluster.ids import IdGenerator
from mmr.config import Config, DomainConfig, SharedSections
from mmr.datastores.registry import Datastores, file_provider
from mmr.federation.own_keys import check_own_keys
from mmr.federation.service import Federation
from mmr.http.access_log import AccessLog
from mmr.http.addresses import ClientAddresses
from mmr.http.client import TrustedClient
from mmr.http.guard import SystemResolver
from mmr.http.limits import HttpLimits, affordable_connections
from mmr.http.request import MediaRequest
from mmr.http.routing import Router
from mmr.http.site import MediaSite
from mmr.logging import write_lines
from mmr.media.commit import ObjectCommitter
from mmr.media.content import Content
from mmr.media.downloads import DownloadRules, Downloads
from mmr.media.failures import RemoteFailures
from mmr.media.info import MediaInfo
from mmr.media.last_access import LastAccess
from mmr.media.placeholder import Placeholder
from mmr.media.records import MediaRecords
from mmr.media.remote import RemoteMedia
from mmr.media.source import SourceFiles
from mmr.media.sweep import Sweep
from mmr.media.thumbnails import Thumbnails
from mmr.media.uploads import Uploads
from mmr.media.waiters import UploadWaiters
from mmr.metrics import (
    cache_events,
    invalid_request,
    register_cache,
    register_pool,
    request_finished,
    request_received,
    set_label_values,
)
from mmr.rest.config import ConfigServlet
from mmr.rest.download import DownloadServlet
from mmr.rest.federation import FederationServlet
from mmr.rest.federation_test import FederationTestServlet
from mmr.rest.identicon import IdenticonServlet
from mmr.rest.info import InfoServlet
from mmr.rest.server_info import ServerInfoServlet
from mmr.rest.session import SessionServlet
from mmr.rest.thumbnail import ThumbnailServlet
from mmr.rest.upload import UploadServlet
from mmr.storage.database import Database, open_database
from mmr.storage.media import MediaRecord
from mmr.storage.stores import Stores
from mmr.storage.thumbnails import ThumbnailRecord
from mmr.tasks.recurring import RecurringJob, RecurringJobs
from mmr.thumbnailing.model import WorkerLimits
from mmr.thumbnailing.pool import ThumbnailPool
from mmr.types import Mxc
from mmr.util.clock import Clock
from mmr.util.threads import WorkerPool

logger = logging.getLogger(__name__)

_FILE_THREADS = 8
_MAX_WAITING_FILE_JOBS = 4000
_MAX_WAITING_RENDERS = 500
# About a kilobyte each.
_MAX_RECORDS = 50_000
_HOUR_MS = 3600 * 1000
_FORGET_SERVERS_MS = 14 * 24 * _HOUR_MS


class MediaRepoServer:
    """Everything that one process runs.

    Args:
        config: The configuration; `reload` replaces it.
        reactor: The reactor.
        machine_id: ``MACHINE_ID``; 0 does the recurring work.
    """

    def __init__(self, config: Config, reactor: Any, machine_id: int = 0) -> None:
        self.config = config
        self.reactor = reactor
        self.machine_id = machine_id
        self._legacy_ids: dict[str, str] = {}
        self._is_started = False

    # Life.

    async def start(self) -> None:
        """Open the database and the datastores, and start the pools.

        Raises:
            StartupError: when the operator has to change something first.
        """
        self._set_labels()
        self.files.start()
        self.resolver.start()
        self.federation.start()
        try:
            await self.db.start()
            await self._open_datastores()
            self.thumbnail_pool.start()
        except BaseException:
            await self.stop()
            raise
        register_pool("files", lambda: self.files.waiting, lambda: self.files.pending)
        register_pool(
            "thumbnails",
            lambda: self.thumbnail_pool.waiting,
            lambda: self.thumbnail_pool.running,
        )
        register_cache(
            "media",
            lambda: len(self.content_cache),
            lambda: self.content_cache.size_bytes,
        )
        self.recurring.start()
        self._is_started = True

    async def stop(self) -> None:
        """End everything, listeners and connections before the rest."""
        if self._is_started:
            await self.recurring.stop()
            await self.site.drain(self.config.repo.shutdown_grace_seconds)
            await self.last_access.flush()
        await self.thumbnail_pool.stop()
        await self.trusted_client.close()
        await self.db.close()
        self.federation.stop()
        for pool in (self.resolver, self.files):
            await self._blocking_stop(pool)

    async def _blocking_stop(self, pool: WorkerPool | SystemResolver) -> None:
        from twisted.internet.threads import deferToThreadPool

        reactor = cast(IReactorThreads, self.reactor)
        await deferToThreadPool(reactor, reactor.getThreadPool(), pool.stop)

    async def check_own_keys(self) -> None:
        """Compare each signing key with what its homeserver publishes (R60)."""
        for domain in list(self.config.domains.values()):
            await check_own_keys(
                domain, self.federation.signers.get(domain), self.trusted_client
            )

    def reload(self, config: Config) -> None:
        """Take over a new configuration. On an error the old one stays.

        Raises:
            StartupError: when it can't be taken over.
        """
        self.datastores.update(_sections(config))
        self.config = config
        self.token_cache.clear()
        self.federation.reload()
        self._set_labels()

    async def _open_datastores(self) -> None:
        self._legacy_ids = await self.stores.datastores.get_ids_by_uri()
        folders = {
            section.opts["path"]: section.id
            for part in _sections(self.config)
            for section in part.datastores
            if section.type == "file" and section.id is not None
        }
        await self.stores.datastores.convert_absolute_locations(folders)
        self.datastores.check_ids_in_use(await self.stores.datastores.get_ids_in_use())
        await self.datastores.check()

    def _set_labels(self) -> None:
        set_label_values(
            self.config.domains,
            {
                (size.width, size.height)
                for section in _sections(self.config)
                for size in section.thumbnails.sizes
            },
        )

    # The bottom rows.

    @cached_property
    def clock(self) -> Clock:
        return Clock(self.reactor)

    @cached_property
    def ids(self) -> IdGenerator:
        return IdGenerator(self.machine_id, self.clock)

    @cached_property
    def files(self) -> WorkerPool:
        reactor = cast(IReactorFromThreads, self.reactor)
        return WorkerPool("files", _FILE_THREADS, _MAX_WAITING_FILE_JOBS, reactor)

    @cached_property
    def db(self) -> Database:
        return open_database(self.config.database, self.reactor, self.clock)

    @cached_property
    def stores(self) -> Stores:
        return Stores(self.db)

    @cached_property
    def datastores(self) -> Datastores:
        return Datastores(
            _sections(self.config),
            {"file": file_provider(self.files, self.clock, self._min_free_bytes)},
            self._datastore_bytes,
            self.clock,
            self._legacy_ids,
        )

    def _min_free_bytes(self) -> int:
        return self.config.uploads.min_free_bytes

    async def _datastore_bytes(self) -> dict[str, int]:
        totals = await self.stores.datastores.get_totals()
        return {name: total.size_bytes for name, total in totals.items()}

    @cached_property
    def content_cache(self) -> ContentCache:
        cache = self.config.downloads.cache
        if not cache.enabled:
            return NoContentCache()
        events = cache_events("media")
        evictions = {
            "not_enough_downloads": events.not_enough_downloads,
            "need_space": events.need_space,
        }
        return InProcessContentCache(
            cache, self.clock, lambda reason: evictions[reason].inc()
        )

    @cached_property
    def trusted_client(self) -> TrustedClient:
        return TrustedClient(self.reactor)

    @cached_property
    def homeservers(self) -> HomeserverClients:
        return HomeserverClients(self.trusted_client, self.clock)

    @cached_property
    def token_cache(self) -> TokenCache:
        return TokenCache(self.clock)

    @cached_property
    def authenticator(self) -> Authenticator:
        verifier = XMatrixVerifier(
            lambda: self.config,
            self.federation.key_ring,
            LookupLimit(self.clock),
            self.federation.back_off.succeeded,
        )
        return Authenticator(
            lambda: self.config, self.homeservers, self.token_cache, verifier
        )

    @cached_property
    def thumbnail_pool(self) -> ThumbnailPool:
        workers = min(self.config.thumbnails.num_workers, os.cpu_count() or 1)
        return ThumbnailPool(
            workers,
            _MAX_WAITING_RENDERS,
            WorkerLimits(),
            self.clock,
            self.reactor,
            Path(tempfile.gettempdir()),
        )

    @cached_property
    def resolver(self) -> SystemResolver:
        return SystemResolver(self.reactor, self.clock)

    @cached_property
    def federation(self) -> Federation:
        return Federation(
            config=lambda: self.config,
            reactor=self.reactor,
            clock=self.clock,
            destinations=self.stores.destinations,
            files=self.files,
            resolver=self.resolver,
            is_ours=self._is_ours,
        )

    # The pipelines.

    @cached_property
    def media_records(self) -> MediaRecords:
        cache: RecordCache[Mxc, MediaRecord] = RecordCache(_MAX_RECORDS)
        return MediaRecords(cache, self.stores.media)

    @cached_property
    def content(self) -> Content:
        return Content(self.content_cache, self.datastores)

    @cached_property
    def source_files(self) -> SourceFiles:
        return SourceFiles(self.content)

    @cached_property
    def waiters(self) -> UploadWaiters:
        return UploadWaiters(self.clock)

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
        )

    @cached_property
    def thumbnails(self) -> Thumbnails:
        cache: RecordCache[Any, ThumbnailRecord] = RecordCache(_MAX_RECORDS)
        return Thumbnails(
            db=self.db,
            media=self.stores.media,
            store=self.stores.thumbnails,
            cache=cache,
            sources=self.source_files,
            datastores=self.datastores,
            committer=self.committer,
            pool=self.thumbnail_pool,
            clock=self.clock,
            freeze=self._freeze,
        )

    @cached_property
    def media_info(self) -> MediaInfo:
        return MediaInfo(self.stores.thumbnails, self.source_files, self.thumbnail_pool)

    @cached_property
    def sweep(self) -> Sweep:
        return Sweep(self.stores.intents, self.stores.object_deletes, self.datastores)

    @cached_property
    def recurring(self) -> RecurringJobs:
        jobs = [
            RecurringJob("flush_last_access", 10, lambda: self.last_access.flush()),
            RecurringJob("sweep_content_cache", SWEEP_SECONDS, self._sweep_content),
        ]
        if self.machine_id == 0:
            jobs += [
                RecurringJob("delete_objects", 30, lambda: self.sweep.delete_queued()),
                RecurringJob("sweep_unfinished", 600, lambda: self.sweep.sweep()),
                RecurringJob("expire_pending", 300, self._expire_pending),
            ]
        return RecurringJobs(jobs, self.clock)

    async def _sweep_content(self) -> None:
        self.content_cache.sweep()

    async def _expire_pending(self) -> None:
        now = self.clock.time_ms()
        # An upload that began in time may still run: its row stays for a while.
        await self.stores.pending.delete_expired(now - _HOUR_MS)
        await self.stores.media_ids.delete_old_holds(now)
        await self.stores.quotas.delete_old(_HOUR_MS)
        await self.stores.destinations.delete_old(now - _FORGET_SERVERS_MS)

    def _freeze(self) -> bool:
        return self.config.repo.freeze_unauthenticated_media

    def _is_ours(self, server_name: str) -> bool:
        return server_name.lower() in self.config.domains

    def _ignored_hosts(self) -> Collection[str]:
        return self.config.federation.ignored_hosts

    # HTTP.

    @cached_property
    def router(self) -> Router:
        download = DownloadServlet(self.downloads, self.content, self.placeholder)
        thumbnail = ThumbnailServlet(
            self.downloads, self.thumbnails, self.content, self.placeholder
        )
        servlets = (
            UploadServlet(self.uploads),
            download,
            thumbnail,
            FederationServlet(download, thumbnail),
            ConfigServlet(self.stores.quotas),
            InfoServlet(self.downloads, self.media_info),
            IdenticonServlet(self.files),
            SessionServlet(Sessions(self.homeservers, self.token_cache)),
            ServerInfoServlet(),
            FederationTestServlet(self.federation.test),
        )
        return Router(route for servlet in servlets for route in servlet.routes())

    @cached_property
    def site(self) -> MediaSite:
        repo = self.config.repo
        return MediaSite(
            router=self.router,
            config_for_host=self._config_for_host,
            configured_hosts=lambda: self.config.domains,
            guard=self.authenticator,
            clock=self.clock,
            access_log=AccessLog(
                write_lines, str(repo.port), self.clock, repo.json_logs
            ),
            addresses=ClientAddresses(
                repo.trusted_proxies, repo.trust_any_forwarded_address
            ),
            use_forwarded_host=repo.use_forwarded_host,
            limits=attrs.evolve(
                HttpLimits(),
                connections=affordable_connections(repo.max_connections),
                connections_per_address=repo.max_connections_per_address,
            ),
            observers=[self._observe],
        )

    def _config_for_host(self, host: str) -> DomainConfig | None:
        return self.config.domains.get(host)

    def _observe(self, request: MediaRequest) -> None:
        if request.route is None:
            return
        action, method = request.route.action, request.method.decode("ascii")
        if not request.host:
            invalid_request(action, method)
            return
        request_received(request.host, action, method)
        seconds = self.clock.monotonic() - request.started
        request_finished(request.host, action, method, request.status, seconds)


def _sections(config: Config) -> Iterator[SharedSections]:
    yield config
    yield from config.domains.values()
