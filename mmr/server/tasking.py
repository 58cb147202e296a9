"""The task engine and what it can do."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from mmr.server.adopting import Adopting
from mmr.tasks import transfer
from mmr.tasks.engine import TaskEngine, TaskRunner
from mmr.tasks.expiry import Expiry, ExpiryRunner, ExpirySchedule
from mmr.tasks.moderation import (
    Deed,
    Moderation,
    ModerationRunner,
    purging,
    quarantining,
)
from mmr.tasks.transfer import Transfer


class Tasking(Adopting):
    """Background tasks of one process."""

    @cached_property
    def task_engine(self) -> TaskEngine:
        return TaskEngine(
            store=self.stores.tasks,
            runners={
                transfer.NAME: self.transfer,
                **{name: ExpiryRunner(each) for name, each in self._expiries.items()},
                **self._moderation_runners,
            },
            num_workers=lambda: self.config.tasks.num_workers,
            clock=self.clock,
            queued=self.announce_task,
            is_ours=self.machine_id == 0,
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
