"""Start, stop, reload, and the work that comes back."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import cast

import attrs

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads

from mmr.cache.content import (
    SWEEP_SECONDS,
)
from mmr.cluster.bus import (
    CONTENT_PURGED,
    CONTENT_REMOVED,
    MEDIA_UPLOADED,
    RECORD_CHANGED,
    TASK_QUEUED,
    USER_LOGGED_OUT,
)
from mmr.cluster.machine import CHECK_SECONDS
from mmr.config import Config
from mmr.errors import MatrixError
from mmr.federation.own_keys import OwnKeys
from mmr.http.guard import SystemResolver
from mmr.metrics import set_label_values
from mmr.server.clustering import mxc_of
from mmr.server.foundations import sections_of
from mmr.server.measuring import Measuring
from mmr.tasks.recurring import RecurringJob, RecurringJobs
from mmr.types import Mxc
from mmr.util.threads import WorkerPool

logger = logging.getLogger(__name__)

_HOUR_MS = 3600 * 1000
_FORGET_SERVERS_MS = 14 * 24 * _HOUR_MS


class MediaRepoServer(Measuring):
    """Everything that one process runs."""

    _is_started = False

    async def start(self) -> None:
        """Open the database and the datastores, and start the pools.

        Raises:
            StartupError: when the operator has to change something first.
        """
        try:
            await self.open()
            self._listen_to_cluster()
            self.join_cluster()
            await self.machine.start()
            self.thumbnail_pool.start()
        except BaseException:
            await self.stop()
            raise
        self.show_metrics()
        await self.count_backlog()
        await self.task_engine.look()
        self.recurring.start()
        self._is_started = True

    async def open(self) -> None:
        """Open the database and the datastores: enough for programs beside the server.

        Raises:
            StartupError: when the operator has to change something first.
        """
        self._set_labels()
        # Built first: a mistake in one of them is the operator's to mend.
        logger.info("%d plugins look at files before they are kept", len(self.hooks))
        self.start_pools()
        await self.db.start()
        await self._open_datastores()

    def start_pools(self) -> None:
        """Start the threads and clients that neither database nor datastores need."""
        self.files.start()
        self.s3.start()
        self.resolver.start()
        self.federation.start()

    async def stop(self) -> None:
        """End everything, listeners and connections before the rest."""
        if self._is_started:
            await self.recurring.stop()
            await self.task_engine.stop()
            await self.site.drain(self.config.repo.shutdown_grace_seconds)
            await self.remote_media.stop()
            self.previews.stop()
            await self.last_access.flush()
        await self.thumbnail_pool.stop()
        await self.preview_parser.stop()
        await self.trusted_client.close()
        await self.hooks.stop()
        await self.leave_cluster()
        await self.db.close()
        self.federation.stop()
        await self.datastores.rest()
        for pool in (self.resolver, self.files, self.s3):
            await self._blocking_stop(pool)

    async def _blocking_stop(self, pool: WorkerPool | SystemResolver) -> None:
        from twisted.internet.threads import deferToThreadPool

        reactor = cast(IReactorThreads, self.reactor)
        await deferToThreadPool(reactor, reactor.getThreadPool(), pool.stop)

    async def check_own_keys(self) -> None:
        """Compare each signing key with what its homeserver publishes (R60)."""
        await self.own_keys.check(list(self.config.domains.values()))

    def reload(self, config: Config) -> None:
        """Take over a new configuration. On an error the old one stays.

        Raises:
            StartupError: when it can't be taken over.
            ConfigError: likewise, because of a plugin.
        """
        hooks = self.build_hooks(config)
        self.datastores.update(sections_of(config))
        self.hooks.replace(hooks)
        self.config = config
        self.token_cache.clear()
        self.caller_limits.update(config.rate_limit)
        self.federation.reload()
        self.previews.reload()
        self._set_labels()

    def _listen_to_cluster(self) -> None:
        bus = self.bus
        bus.on(MEDIA_UPLOADED, lambda payload: self.waiters.wake(mxc_of(payload)))
        bus.on(RECORD_CHANGED, lambda payload: self._forget_media(mxc_of(payload)))
        bus.on(CONTENT_REMOVED, self.content_removed)
        bus.on(CONTENT_PURGED, self.content_cache.drop_here)
        bus.on(USER_LOGGED_OUT, self.token_cache.drop_user)
        bus.on(TASK_QUEUED, lambda _: Deferred.fromCoroutine(self._look_for_tasks()))
        bus.on_gap(self._forget_all)

    def _forget_media(self, mxc: Mxc) -> None:
        self.media_record_cache.forget_media(mxc)
        self.thumbnail_records.forget_media(mxc)

    def _forget_all(self) -> None:
        self.media_record_cache.forget_all()
        self.thumbnail_records.forget_all()
        self.token_cache.clear()
        # Nobody may have told us (R85). What begins from now on looks by itself.
        answers = self.serving.open_answers
        Deferred.fromCoroutine(self.cut_quarantined(answers, in_doubt=False))

    async def _look_for_tasks(self) -> None:
        try:
            await self.task_engine.look()
        except MatrixError as error:
            logger.warning("Looking for tasks failed, and is tried later: %s", error)

    async def _open_datastores(self) -> None:
        self.legacy_ids = await self.stores.datastores.get_ids_by_uri()
        folders = {
            section.opts["path"]: section.id
            for part in sections_of(self.config)
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
                for section in sections_of(self.config)
                for size in section.thumbnails.sizes
            },
        )

    @cached_property
    def own_keys(self) -> OwnKeys:
        return OwnKeys(self.federation.signers, self.trusted_client)

    @cached_property
    def recurring(self) -> RecurringJobs:
        jobs = [
            RecurringJob("count_backlog", 30, self.count_backlog),
            RecurringJob("flush_last_access", 10, lambda: self.last_access.flush()),
            RecurringJob("sweep_content_cache", SWEEP_SECONDS, self._sweep_content),
            # The homeserver may start after us, or be given another key by a reload.
            RecurringJob("check_own_keys", 60, self.check_own_keys),
            # Another process may have quarantined something (R84).
            RecurringJob("check_exports", 2, lambda: self.export_downloads.recheck()),
        ]
        jobs.append(RecurringJob("check_machine", CHECK_SECONDS, self._check_machine))
        if self.machine_id == 0:
            alone = [
                RecurringJob("look_for_tasks", 15, lambda: self.task_engine.look()),
                RecurringJob("delete_objects", 30, lambda: self.sweep.delete_queued()),
                RecurringJob("sweep_unfinished", 600, lambda: self.sweep.sweep()),
                RecurringJob("expire_pending", 300, self._expire_pending),
                RecurringJob(
                    "submit_expiry", 3600, lambda: self.expiry_schedule.submit_due()
                ),
                RecurringJob("expire_exports", 3600, lambda: self.exports.expire()),
                RecurringJob("sweep_imports", 600, lambda: self.import_data.sweep()),
                RecurringJob(
                    "clear_blurhashes", 6 * 3600, lambda: self.blurhash_expiry.expire()
                ),
            ]
            jobs += [
                attrs.evolve(job, run=self.machine.if_mine(job.run)) for job in alone
            ]
        return RecurringJobs(jobs, self.clock)

    async def _sweep_content(self) -> None:
        self.content_cache.sweep()

    async def _check_machine(self) -> None:
        await self.machine.check()
        if not self.machine.is_mine:
            self.task_engine.give_up()

    async def _expire_pending(self) -> None:
        now = self.clock.time_ms()
        await self.pending_expiry.expire()
        await self.stores.media_ids.delete_old_holds(now)
        await self.stores.quotas.delete_old(_HOUR_MS)
        await self.stores.destinations.delete_old(now - _FORGET_SERVERS_MS)
