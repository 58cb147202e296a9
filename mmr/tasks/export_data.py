"""``export_data``: all media of a user or a server as an archive (mmr-storage §7)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import attrs

from mmr.archives.writer import MANIFEST_PART
from mmr.cluster.ids import IdGenerator
from mmr.config import Config, SharedSections
from mmr.datastores.registry import Datastores
from mmr.media.content import Content
from mmr.storage.exports import BegunExport, ExportGone, ExportIdTaken
from mmr.storage.stores import Stores
from mmr.storage.tasks import Progress, Task
from mmr.tasks.engine import TaskFailed, TaskReporter
from mmr.tasks.export_entries import describer
from mmr.tasks.export_parts import DatastoreParts
from mmr.tasks.export_plan import Checkpoint, ExportPlan
from mmr.tasks.export_walk import Exporter
from mmr.types import Kind, server_of_user
from mmr.util.threads import Runner

logger = logging.getLogger(__name__)

NAME = "export_data"


@attrs.frozen
class ExportParams:
    """``params`` of the task, with MMR's names in the database.

    Attributes:
        entity: A user id or a server name.
        include_data: MMR 1.2's: False is a manifest without files.
    """

    entity: str
    export_id: str = attrs.field(repr=False)
    include_s3_urls: bool = True
    include_data: bool = True

    @classmethod
    def read(cls, params: Any) -> ExportParams:
        """Read what is in the database; MMR may have written it.

        Raises:
            TaskFailed: when something is missing.
        """
        user_id, server = params.get("user_id"), params.get("server_name")
        export_id = params.get("export_id")
        if not export_id or not isinstance(export_id, str):
            raise TaskFailed("missing export id")
        if user_id and (not isinstance(user_id, str) or not server_of_user(user_id)):
            raise TaskFailed("invalid user id")
        entity = user_id or server
        if not entity or not isinstance(entity, str):
            raise TaskFailed("no entity")
        return cls(
            entity,
            export_id,
            bool(params.get("include_s3_urls", True)),
            bool(params.get("include_data", True)),
        )

    def written(self) -> dict[str, Any]:
        """As it goes into the database."""
        key = "user_id" if self.entity.startswith("@") else "server_name"
        return {
            key: self.entity,
            "export_id": self.export_id,
            "include_s3_urls": self.include_s3_urls,
            "include_data": self.include_data,
        }


def section_of(config: Config, entity: str) -> SharedSections:
    """The settings for an entity: its homeserver's, else the main ones (D64)."""
    server = server_of_user(entity) if entity.startswith("@") else entity
    return config.domains.get(server or "", config)


class ExportData:
    """Makes exports. Broken off, it goes on behind the last finished part (D66).

    Args:
        config: The configuration of this moment.
    """

    def __init__(
        self,
        *,
        stores: Stores,
        datastores: Datastores,
        content: Content,
        ids: IdGenerator,
        files: Runner,
        config: Callable[[], Config],
    ) -> None:
        self._stores = stores
        self._datastores = datastores
        self._content = content
        self._ids = ids
        self._files = files
        self._config = config

    async def run(self, task: Task, reporter: TaskReporter) -> None:
        """See `TaskRunner.run`."""
        params = ExportParams.read(task.params)
        try:
            begun = await self._stores.exports.begin(
                params.export_id, params.entity, task.id
            )
            checkpoint = await self._make(params, begun, reporter)
        except ExportIdTaken:
            raise TaskFailed("the export id is in use") from None
        except ExportGone:
            raise TaskFailed("the export was deleted") from None
        if checkpoint.complaint:
            raise TaskFailed(checkpoint.complaint)

    async def _make(
        self, params: ExportParams, begun: BegunExport, reporter: TaskReporter
    ) -> Checkpoint:
        saved = json.loads(begun.checkpoint) if begun.checkpoint else None
        begin = Checkpoint.from_dict(saved) if saved else Checkpoint()
        if begun.parts and begun.parts[-1].file_name == MANIFEST_PART:
            return begin
        entries = self._stores.export_entries
        await entries.forget_behind(params.export_id, len(begun.parts))
        total, _ = await entries.count_media(params.entity, begun.created_ts)

        async def report(now: Checkpoint, *, is_last: bool = False) -> None:
            progress = Progress(now.done, now.failed, total, now.bytes_done)
            await reporter.report(progress, now=is_last)

        exporter = self._exporter(params, begun, begin, report)
        checkpoint = await exporter.run()
        await report(checkpoint, is_last=True)
        return checkpoint

    def _exporter(
        self,
        params: ExportParams,
        begun: BegunExport,
        begin: Checkpoint,
        report: Any,
    ) -> Exporter:
        section = section_of(self._config(), params.entity)
        if not any(Kind.ARCHIVES in each.for_kinds for each in section.datastores):
            raise TaskFailed(
                "no datastore takes archives. Add archives (or all) to `forKinds` of "
                "one of the homeserver's datastores."
            )
        describe = describer(self._datastores, with_s3_urls=params.include_s3_urls)
        return Exporter(
            ExportPlan(
                entity=params.entity,
                created_ts=begun.created_ts,
                target_bytes=section.archiving.target_bytes_per_part,
                with_data=params.include_data,
                parts=len(begun.parts),
                begin=begin,
            ),
            DatastoreParts(
                params.export_id,
                len(begun.parts),
                section,
                stores=self._stores,
                datastores=self._datastores,
                ids=self._ids,
                describe=describe,
            ),
            rows=self._stores.export_entries,
            content=self._content,
            describe=describe,
            files=self._files,
            progress=report,
            tell=_log,
        )


def _log(word: str, mxc: str, why: str) -> None:
    logger.warning("Export: %s is %s: %s", mxc, word, why)
