"""Removes remote media that is too old (``downloads.expireAfterDays``)."""

from __future__ import annotations

from collections.abc import Callable, Collection

from mmr.media import selection as selections
from mmr.media.patience import Patience
from mmr.media.purge import Purge, PurgeResult
from mmr.media.reports import Report, silent
from mmr.media.selection import EVERYTHING, Order
from mmr.storage.selection import SelectionStore
from mmr.util.clock import Clock

_DAY_MS = 24 * 3600 * 1000
ACTOR = "@expiry"
"""Its name in the audit log."""


class RemoteMediaExpiry:
    """Purges by age, with patience (R100). Origins are asked again when need be.

    Args:
        days: The setting, as it is now; 0 or less is never.
        our_servers: Names of the homeservers that are configured now.
    """

    def __init__(
        self,
        purge: Purge,
        selections: SelectionStore,
        clock: Clock,
        days: Callable[[], int],
        our_servers: Callable[[], Collection[str]],
    ) -> None:
        self._purge = purge
        self._selections = selections
        self._clock = clock
        self._days = days
        self._our_servers = our_servers
        self._patience = Patience("remote media", "downloads.expireAfterDays", clock)

    async def is_due(self) -> bool:
        """Whether there is something to remove now."""
        before_ts = self._before_ts()
        if before_ts is None:
            return False
        if await self._patience.must_wait(before_ts, self._count_around):
            return False
        wanted = selections.remote(before_ts, self._our_servers()).filter
        found, _ = await self._selections.page(wanted, None, 1)
        return bool(found)

    async def count(self) -> int:
        """How many are too old now."""
        before_ts = self._before_ts()
        if before_ts is None:
            return 0
        wanted = selections.remote(before_ts, self._our_servers())
        return await self._purge.count(wanted)

    async def expire(self, report: Report = silent) -> int:
        """Remove what is too old now.

        Returns:
            How many media were removed.
        """
        before_ts = self._before_ts()
        if before_ts is None or not await self.is_due():
            return 0

        async def progress(result: PurgeResult) -> None:
            await report(result.media)

        order = Order(
            selections.remote(before_ts, self._our_servers()),
            EVERYTHING,
            actor=ACTOR,
            reason="downloads.expireAfterDays",
        )
        return (await self._purge.run(order, progress)).media

    def _before_ts(self) -> int | None:
        days = self._days()
        return self._clock.time_ms() - days * _DAY_MS if days > 0 else None

    async def _count_around(self, ts: int, limit: int) -> tuple[int, int]:
        return await self._selections.count_around(self._our_servers(), ts, limit)
