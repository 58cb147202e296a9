"""Exports as the API sees them: started, looked at, deleted, expired (R49)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection

from mmr.archives.writer import MANIFEST_PART
from mmr.cluster.ids import IdGenerator
from mmr.datastores.base import ObjectMissing, StoredObject
from mmr.datastores.registry import Datastores
from mmr.errors import not_found, rate_limited
from mmr.media.audit import AuditLog
from mmr.storage.exports import Export, ExportPart
from mmr.storage.stores import Stores
from mmr.storage.tasks import Task
from mmr.tasks.engine import TaskEngine
from mmr.tasks.export_data import NAME, ExportParams
from mmr.types import server_of_user
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

_DAY_MS = 24 * 3600 * 1000
_BATCH = 100
_EXPORT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
_MOST_OWN_EXPORTS = 3
ACTOR = "@expiry"
"""Who deletes old exports, in the audit log."""


class Exports:
    """All exports of one database.

    Args:
        days: ``archiving.expireAfterDays`` as it is now; 0: they stay.
        our_servers: Names of the homeservers that are configured now.
    """

    def __init__(
        self,
        *,
        stores: Stores,
        datastores: Datastores,
        engine: TaskEngine,
        audit: AuditLog,
        ids: IdGenerator,
        clock: Clock,
        days: Callable[[], int],
        our_servers: Callable[[], Collection[str]],
    ) -> None:
        self._stores = stores
        self._datastores = datastores
        self._engine = engine
        self._audit = audit
        self._ids = ids
        self._clock = clock
        self._days = days
        self._our_servers = our_servers

    async def start(
        self,
        entity: str,
        *,
        actor: str,
        is_own: bool,
        include_s3_urls: bool = True,
        include_data: bool = True,
    ) -> tuple[str, int]:
        """Have an export made.

        Args:
            is_own: It isn't a repository admin who asks: not as often as they like.

        Returns:
            The id of the export, which is a secret, and the id of its task.

        Raises:
            MatrixError: 429 when there are enough of them.
        """
        if is_own:
            await self._check_number(entity)
        export_id = self._ids.unique_id()
        params = ExportParams(entity, export_id, include_s3_urls, include_data)
        task = await self._stores.exports.create(
            export_id, entity, (NAME, params.written()), self._clock.time_ms()
        )
        await self._audit.note(actor, "export", entity)
        await self._engine.added(task)
        return export_id, task.id

    async def _check_number(self, entity: str) -> None:
        count, oldest_ts = await self._stores.exports.count_of(entity)
        if count >= _MOST_OWN_EXPORTS:
            ends_ts = oldest_ts + max(1, self._days()) * _DAY_MS
            raise rate_limited(max(_DAY_MS, ends_ts - self._clock.time_ms()))

    async def find(self, export_id: str) -> Export | None:
        """One export; None for whatever isn't one."""
        if not _EXPORT_ID.match(export_id):
            return None
        return await self._stores.exports.get(export_id)

    def is_visible_at(self, export: Export, host: str) -> bool:
        """Whether a homeserver may know of it: it isn't another one's of ours (R75)."""
        entity = export.entity
        owner = server_of_user(entity) if entity.startswith("@") else entity
        return owner == host or owner not in self._our_servers()

    def expires_ts(self, export: Export) -> int:
        """When it is deleted, ms since the epoch; 0: not known, or never."""
        days = self._days()
        return export.created_ts + days * _DAY_MS if days and export.created_ts else 0

    async def task_of(self, export: Export) -> Task | None:
        """The task that makes it, or has made it."""
        return await self._stores.tasks.get(export.task_id) if export.task_id else None

    async def is_withheld(self, export: Export, part: ExportPart) -> bool:
        """Whether something in a part is quarantined (R84).

        Of exports that MMR has made nobody knows what is in which part.
        """
        if part.file_name == MANIFEST_PART:
            return False
        entries = self._stores.export_entries
        if not export.task_id:
            return await entries.has_quarantined(export.entity)
        return await entries.is_withheld(export.export_id, part.index)

    async def open(self, part: ExportPart) -> StoredObject:
        """Open a part.

        Raises:
            MatrixError: 404 when its object is gone.
        """
        name = part.name
        try:
            return await self._datastores.get(name.datastore_id).open(name.location)
        except ObjectMissing:
            logger.error(
                "Object %s of datastore %s is missing although a part of an export is "
                "in it. Delete the export, and make it again.",
                name.location,
                name.datastore_id,
            )
            raise not_found() from None

    async def delete(self, export: Export, actor: str) -> None:
        """Delete an export, and break off its making."""
        now_ms = self._clock.time_ms()
        if await self._stores.exports.delete(export.export_id, now_ms):
            await self._audit.note(actor, "delete_export", export.entity)

    async def expire(self) -> None:
        """Delete what is too old."""
        days = self._days()
        if days <= 0:
            return
        store = self._stores.exports
        while batch := await store.get_expired(days * _DAY_MS, _BATCH):
            for export in batch:
                await self.delete(export, ACTOR)
            logger.info("Deleted %d exports older than %d days", len(batch), days)
