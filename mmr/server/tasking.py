"""The task engine and what it can do."""

from __future__ import annotations

from functools import cached_property

from mmr.server.previewing import Previewing
from mmr.tasks import transfer
from mmr.tasks.engine import TaskEngine
from mmr.tasks.transfer import Transfer
from mmr.types import Mxc


class Tasking(Previewing):
    """Background tasks of one process."""

    @cached_property
    def task_engine(self) -> TaskEngine:
        return TaskEngine(
            store=self.stores.tasks,
            runners={transfer.NAME: self.transfer},
            num_workers=lambda: self.config.tasks.num_workers,
            clock=self.clock,
            queued=self.announce_task,
            is_ours=self.machine_id == 0,
        )

    @cached_property
    def transfer(self) -> Transfer:
        return Transfer(
            transfers=self.stores.transfers,
            intents=self.stores.intents,
            datastores=self.datastores,
            ids=self.ids,
            clock=self.clock,
            changed=self._media_moved,
        )

    def _media_moved(self, mxc: Mxc) -> None:
        self.media_records.invalidate(mxc)
        self.thumbnails.forget(mxc)
