"""When content was last asked for, written in batches: not one write per download."""

from __future__ import annotations

from mmr.storage.last_access import LastAccessStore

# Content that is asked for between two flushes. More is flushed with the next batch:
# what is dropped here only makes that content look older by one flush.
_MAX_NOTED = 50_000


class LastAccess:
    """Collects the times and flushes them (a recurring job calls `flush`)."""

    def __init__(self, store: LastAccessStore) -> None:
        self._store = store
        self._noted: dict[str, int] = {}

    def note(self, sha256_hash: str, now_ms: int) -> None:
        """This content is being served."""
        if len(self._noted) < _MAX_NOTED or sha256_hash in self._noted:
            self._noted[sha256_hash] = now_ms

    async def flush(self) -> None:
        """Write what was noted since the last time. On failure it is kept."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            await self._store.touch(noted)
        except BaseException:
            self._noted = {**noted, **self._noted}
            raise
