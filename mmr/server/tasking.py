"""The task engine and what it can do."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Any

from mmr.server.importing import Importing
from mmr.tasks import export_data, import_data, transfer
from mmr.tasks.engine import TaskEngine, TaskRunner
from mmr.tasks.expiry import Expiry, ExpiryRunner, ExpirySchedule
from mmr.tasks.export_downloads import ExportDownloads
from mmr.tasks.exports import Exports
from mmr.tasks.imports import Imports
from mmr.tasks.moderation import (
    Deed,
    Moderation,
    ModerationRunner,
    purging,
    quarantining,
)
from mmr.tasks.transfer import Transfer
from mmr.types import Mxc


class Tasking(Importing):
    """Background tasks of one process."""

    @cached_property
    def task_engine(self) -> TaskEngine:
        return TaskEngine(
            store=self.stores.tasks,
            runners={
                transfer.NAME: self.transfer,
                export_data.NAME: self.export_data,
                import_data.NAME: self.import_data,
                **{name: ExpiryRunner(each) for name, each in self._expiries.items()},
                **self._moderation_runners,
            },
            num_workers=lambda: self.config.tasks.num_workers,
            clock=self.clock,
            queued=self.announce_task,
            is_ours=lambda: self.machine_id == 0 and self.machine.is_mine,
        )

    @cached_property
    def moderation(self) -> Moderation:
        return Moderation(self.task_engine, self.audit, self.purge, self.quarantine)

    @property
    def _moderation_runners(self) -> dict[str, TaskRunner]:
        deeds: tuple[Deed[Any], ...] = (
            purging(self.purge),
            quarantining(self.quarantine, True),
            quarantining(self.quarantine, False),
        )
        store = self.stores.tasks
        return {
            deed.task: ModerationRunner(deed, store, lambda: self.config.domains.keys())
            for deed in deeds
        }

    @cached_property
    def expiry_schedule(self) -> ExpirySchedule:
        return ExpirySchedule(self.task_engine, self.stores.tasks, self._expiries)

    @cached_property
    def _expiries(self) -> dict[str, Expiry]:
        """By MMR's names of these jobs."""
        return {
            "recurring_purge_remote_media": self.remote_expiry,
            "recurring_purge_thumbnails": self.thumbnail_expiry,
            "recurring_purge_previews": self.preview_expiry,
        }

    @cached_property
    def transfer(self) -> Transfer:
        return Transfer(
            transfers=self.stores.transfers,
            intents=self.stores.intents,
            datastores=self.datastores,
            ids=self.ids,
            clock=self.clock,
            changed=self.media_changed,
        )

    @cached_property
    def exports(self) -> Exports:
        return Exports(
            stores=self.stores,
            datastores=self.datastores,
            engine=self.task_engine,
            audit=self.audit,
            ids=self.ids,
            clock=self.clock,
            days=lambda: self.config.archiving.expire_after_days,
            our_servers=lambda: self.config.domains.keys(),
        )

    @cached_property
    def imports(self) -> Imports:
        return Imports(
            store=self.stores.imports,
            intents=self.stores.intents,
            datastores=self.datastores,
            engine=self.task_engine,
            audit=self.audit,
            ids=self.ids,
            clock=self.clock,
        )

    @cached_property
    def export_downloads(self) -> ExportDownloads:
        return ExportDownloads(self.exports, self.stores.quarantine_changes)

    async def _withdraw(
        self, media: Collection[Mxc], contents: Collection[str]
    ) -> None:
        await super()._withdraw(media, contents)
        await self.export_downloads.recheck()
