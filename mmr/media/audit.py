"""Who did what, why and to how much: as rows, and as log lines (R90)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from twisted.internet.defer import CancelledError

from mmr.storage.audit import AuditStore
from mmr.storage.transaction import Transaction

logger = logging.getLogger(__name__)


@attrs.define
class RunningAction:
    """An action under way.

    Attributes:
        id: Of its entry; None for one that isn't kept.
        skipped: What was left as it was, so far.
    """

    id: int | None
    store: AuditStore
    affected: int = 0
    freed_bytes: int = 0
    skipped: int = 0

    def add_txn(self, txn: Transaction, affected: int, freed_bytes: int = 0) -> None:
        """Count what was done, in the transaction that does it."""
        if self.id is not None and affected:
            self.store.add_txn(txn, self.id, affected, freed_bytes)

    def added(self, affected: int, freed_bytes: int = 0) -> None:
        """The same for the log line, once that transaction is committed."""
        self.affected += affected
        self.freed_bytes += freed_bytes


class AuditLog:
    """Keeps the log."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    async def begin(self, actor: str, action: str, target: str, reason: str) -> int:
        """Add the entry of an action that may outlive this process; gives its id."""
        return await self._store.begin(actor, action, target, reason)

    @asynccontextmanager
    async def action(
        self,
        actor: str,
        action: str,
        target: str,
        reason: str,
        *,
        keep: bool = True,
        entry_id: int | None = None,
    ) -> AsyncIterator[RunningAction]:
        """Log what happens inside, however it ends.

        Args:
            keep: Write rows. Without it there is only the log line: for what anybody
                may do, as often as they like.
            entry_id: Of the entry, when that has begun before.
        """
        if keep and entry_id is None:
            entry_id = await self.begin(actor, action, target, reason)
        running = RunningAction(entry_id, self._store)
        error = "interrupted"
        try:
            yield running
            error = ""
        except CancelledError:
            # The process ends. If somebody goes on with it, the entry isn't finished.
            entry_id = None
            raise
        except Exception as failure:
            error = type(failure).__name__
            raise
        finally:
            logger.info(
                "%s by %s: %s; %d media, %d bytes freed, %d skipped; reason: %r%s",
                action,
                actor,
                target,
                running.affected,
                running.freed_bytes,
                running.skipped,
                reason,
                f"; ended early: {error}" if error else "",
            )
            if entry_id is not None:
                await self._store.finish(entry_id, running.skipped, error)

    async def note(
        self, actor: str, action: str, target: str, reason: str = "", affected: int = 1
    ) -> None:
        """Log an action that is done in one step."""
        async with self.action(actor, action, target, reason) as running:
            running.added(affected)
            if running.id is not None:
                await self._store.count(running.id, affected)
