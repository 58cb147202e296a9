"""Parts that are just being sent, so that quarantine can break them off (R85)."""

from __future__ import annotations

from mmr.media.serving import Stoppable
from mmr.storage.exports import Export, ExportPart
from mmr.storage.quarantine_changes import QuarantineChangeStore
from mmr.tasks.exports import Exports


class ExportDownloads:
    """Which requests are being answered with which part. Bounded by connections.

    Args:
        changes: What was quarantined, by any process.
    """

    def __init__(self, exports: Exports, changes: QuarantineChangeStore) -> None:
        self._exports = exports
        self._changes = changes
        self._seen_id = -1
        self._running: dict[Stoppable, tuple[Export, ExportPart]] = {}

    def __len__(self) -> int:
        return len(self._running)

    async def begin(self, request: Stoppable, export: Export, part: ExportPart) -> bool:
        """A request is to be answered with a part.

        Returns:
            Whether it may: nothing in the part is quarantined. What is quarantined
            after this was asked finds the request here.
        """
        self._running[request] = (export, part)
        return not await self._exports.is_withheld(export, part)

    def over(self, request: Stoppable) -> None:
        """The request has its answer."""
        self._running.pop(request, None)

    async def recheck(self) -> None:
        """Break off what may not be sent any more. To be called often."""
        if not self._running:
            return
        last_id = await self._changes.get_last_id()
        if last_id == self._seen_id:
            return
        self._seen_id = last_id
        for request, (export, part) in list(self._running.items()):
            if await self._exports.is_withheld(export, part):
                self.over(request)
                request.abort()
