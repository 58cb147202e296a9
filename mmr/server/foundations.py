"""Database, stores, pools, caches, clients: what the pipelines stand on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from twisted.internet.interfaces import IReactorFromThreads

from mmr.auth.authenticator import Authenticator
from mmr.auth.federation import XMatrixVerifier
from mmr.auth.homeserver import HomeserverClients
from mmr.auth.lookup_limit import LookupLimit
from mmr.auth.tokens import TokenCache
from mmr.cache.content import (
    ContentCache,
    InProcessContentCache,
    NoContentCache,
)
from mmr.cache.redis import RedisContentCache
from mmr.cache.standing_in import StandingIn
from mmr.cluster.ids import IdGenerator
from mmr.config import Config, SharedSections
from mmr.datastores.registry import (
    Datastores,
    file_provider,
    s3_provider,
    synapse_provider,
)
from mmr.datastores.s3 import THREADS as S3_THREADS
from mmr.federation.service import Federation
from mmr.http.client import TrustedClient
from mmr.http.guard import SystemResolver
from mmr.metrics import (
    cache_events,
)
from mmr.server.clustering import Clustering
from mmr.storage.stores import Stores
from mmr.thumbnailing.pool import ThumbnailPool
from mmr.util.confined.limits import WorkerLimits
from mmr.util.threads import WorkerPool

_FILE_THREADS = 8
_MAX_WAITING_FILE_JOBS = 4000
_MAX_WAITING_RENDERS = 500


class Foundations(Clustering):
    """The lower rows of one process."""

    def __init__(self, config: Config, reactor: Any, machine_id: int = 0) -> None:
        super().__init__(config, reactor, machine_id)
        self.legacy_ids: dict[str, str] = {}

    @cached_property
    def ids(self) -> IdGenerator:
        return IdGenerator(self.machine_id, self.clock)

    @cached_property
    def files(self) -> WorkerPool:
        reactor = cast(IReactorFromThreads, self.reactor)
        return WorkerPool("files", _FILE_THREADS, _MAX_WAITING_FILE_JOBS, reactor)

    @cached_property
    def s3(self) -> WorkerPool:
        reactor = cast(IReactorFromThreads, self.reactor)
        return WorkerPool("s3", S3_THREADS, _MAX_WAITING_FILE_JOBS, reactor)

    @cached_property
    def stores(self) -> Stores:
        return Stores(self.db)

    @cached_property
    def datastores(self) -> Datastores:
        return Datastores(
            sections_of(self.config),
            {
                "file": file_provider(
                    self.files, self.clock, self._min_free_bytes, with_hands=True
                ),
                "s3": s3_provider(
                    self.s3,
                    self.files,
                    self.clock,
                    self._min_free_bytes,
                    lambda: self.ids.object_name(),
                ),
                "synapse": synapse_provider(
                    self.s3, self.files, self.clock, self._min_free_bytes
                ),
            },
            self._datastore_bytes,
            self.clock,
            self.legacy_ids,
        )

    def _min_free_bytes(self) -> int:
        return self.config.uploads.min_free_bytes

    async def _datastore_bytes(self) -> dict[str, int]:
        totals = await self.stores.datastores.get_totals()
        return {name: total.size_bytes for name, total in totals.items()}

    @cached_property
    def content_cache(self) -> ContentCache:
        if self.redis is None:
            return self._memory_cache
        shared = RedisContentCache(
            self.redis,
            self.config.downloads.cache.max_file_size_bytes,
            self.clock,
            self.files,
            self.announce_removal,
        )
        return StandingIn(shared, self._memory_cache)

    @cached_property
    def _memory_cache(self) -> ContentCache:
        cache = self.config.downloads.cache
        if not cache.enabled:
            return NoContentCache()
        events = cache_events("media")
        evictions = {
            "not_enough_downloads": events.not_enough_downloads,
            "need_space": events.need_space,
        }
        return InProcessContentCache(
            cache,
            self.clock,
            lambda reason: evictions[reason].inc(),
            self.announce_removal,
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

    def _is_ours(self, server_name: str) -> bool:
        return server_name.lower() in self.config.domains


def sections_of(config: Config) -> Iterator[SharedSections]:
    yield config
    yield from config.domains.values()
