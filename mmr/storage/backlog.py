"""What waits in the database for somebody to do it."""

from __future__ import annotations

import attrs

from mmr.storage.database import Database


@attrs.frozen
class Backlog:
    """Rows of the tables that empty themselves.

    Attributes:
        intents: Objects on their way into a datastore, or left by a crash.
        deletes: Objects that are to be deleted.
        failing_deletes: Those of them whose deletion failed at least once.
        tasks: Background tasks that have not ended.
        backing_off: Servers that are left alone for now.
    """

    intents: int
    deletes: int
    failing_deletes: int
    tasks: int
    backing_off: int


class BacklogStore:
    """Counts them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def count(self) -> Backlog:
        """Count. Each table is small, or has an index for it."""
        row = await self._db.fetch_one(
            "count_backlog",
            "SELECT (SELECT COUNT(*) FROM mmr_object_intents),"
            " (SELECT COUNT(*) FROM mmr_object_deletes),"
            " (SELECT COUNT(*) FROM mmr_object_deletes WHERE attempts > 0),"
            " (SELECT COUNT(*) FROM background_tasks WHERE end_ts <= 0),"
            " (SELECT COUNT(*) FROM mmr_destinations)",
        )
        assert row is not None
        return Backlog(*row)
