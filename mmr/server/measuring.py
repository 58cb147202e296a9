"""What a process shows of itself to Prometheus, beside what its parts count."""

from __future__ import annotations

from functools import cached_property

from mmr.metrics import (
    register_cache,
    register_figure,
    register_pool,
    show_figures,
)
from mmr.server.http_side import HttpSide
from mmr.storage.backlog import BacklogStore
from mmr.storage.datastore_totals import DatastoreTotal
from mmr.util.threads import WorkerPool


class Measuring(HttpSide):
    """Registers the gauges. Reading them costs nothing until somebody scrapes."""

    def show_metrics(self) -> None:
        """Show this process."""
        self._show_pools()
        self._show_caches()
        self._show_database()
        site, remote = self.site, self.remote_media
        register_figure(
            "media_http_connections",
            "Open connections of clients",
            lambda: len(site.connections),
        )
        register_figure(
            "media_remote_fetches",
            "Files of other servers that are on their way",
            lambda: remote.running,
        )
        register_figure(
            "media_downloads_running",
            "Requests that are being answered with media",
            lambda: len(self.serving),
        )

    def _show_pools(self) -> None:
        for pool in (self.files, self.s3):
            _show_pool(pool)
        renders = self.thumbnail_pool
        register_pool("thumbnails", lambda: renders.waiting, lambda: renders.running)

    def _show_caches(self) -> None:
        content, tokens = self.content_cache, self.token_cache
        records, thumbnails = self.media_record_cache, self.thumbnail_records
        register_cache("media", lambda: len(content), lambda: content.size_bytes)
        for name, cache in (
            ("records", records),
            ("thumbnail_records", thumbnails),
            ("tokens", tokens),
        ):
            register_figure(
                f"media_{name}_cached",
                f"Entries in the cache of {name.replace('_', ' ')}",
                cache.__len__,
            )

    def _show_database(self) -> None:
        db = self.db
        register_figure("media_database_queries_total", "Reads", lambda: db.queries)
        register_figure(
            "media_database_transactions_total",
            "Transactions that write",
            lambda: db.transactions,
        )
        register_figure(
            "media_database_seconds_total",
            "What was waited for both, summed up",
            lambda: db.busy_seconds,
        )
        register_figure(
            "media_database_waiting",
            "Queries that have no connection yet",
            lambda: db.waiting,
        )

    @cached_property
    def backlogs(self) -> BacklogStore:
        return BacklogStore(self.db)

    async def count_backlog(self) -> None:
        """Look how much waits in the database, and what the datastores hold."""
        found = await self.backlogs.count()
        show_figures(
            "media_backlog",
            "Rows that wait for somebody to do them",
            "kind",
            {
                "intents": found.intents,
                "deletes": found.deletes,
                "failing_deletes": found.failing_deletes,
                "tasks": found.tasks,
            },
        )
        register_figure(
            "media_federation_backing_off",
            "Servers that are left alone for now",
            lambda: found.backing_off,
        )
        totals = await self.stores.datastores.get_totals()
        nothing = DatastoreTotal(0, 0)
        held = {each.id: totals.get(each.id, nothing) for each in self.datastores}
        show_figures(
            "media_datastore_bytes",
            "Bytes in a datastore, by its records",
            "datastore",
            {name: total.size_bytes for name, total in held.items()},
        )
        show_figures(
            "media_datastore_objects",
            "Objects in a datastore, by its records",
            "datastore",
            {name: total.objects for name, total in held.items()},
        )
        if self.redis is not None:
            show_figures(
                "media_redis_up",
                "1 when a Redis server answers",
                "shard",
                {shard.name: int(shard.is_up) for shard in self.redis.shards},
            )


def _show_pool(pool: WorkerPool) -> None:
    register_pool(pool.name, lambda: pool.waiting, lambda: pool.pending - pool.waiting)
