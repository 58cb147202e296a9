"""Quarantine: content that may not be served any more, in any shape (R84-R90)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import attrs

from mmr.errors import forbidden
from mmr.media.audit import AuditLog, RunningAction
from mmr.media.selection import Reach, Selection, Skipped
from mmr.storage.database import Database
from mmr.storage.quarantine import QuarantineStep, QuarantineStore
from mmr.storage.selection import SelectionStore
from mmr.storage.transaction import Transaction
from mmr.types import Mxc
from mmr.util.shield import shield

MAX_LISTED = 50_000
"""Media that a result names at most; the counts are of all."""

_BATCH = 50


@attrs.define
class QuarantineResult:
    """What has changed.

    Attributes:
        num: How many records.
        mxcs: The media, the first `MAX_LISTED` of them.
        skipped: Media left as they are, the first `MAX_LISTED` of them.
    """

    num: int = 0
    mxcs: list[Mxc] = attrs.Factory(list)
    skipped: list[Skipped] = attrs.Factory(list)
    _known: set[Mxc] = attrs.Factory(set)

    def add(self, media: list[Mxc]) -> None:
        """These have changed."""
        self.num += len(media)
        self.mxcs += media[: MAX_LISTED - len(self.mxcs)]

    def skip(self, mxc: Mxc, reason: str) -> None:
        """One media that stays; the same may be met again by another's copy."""
        if len(self.skipped) < MAX_LISTED and mxc not in self._known:
            self._known.add(mxc)
            self.skipped.append(Skipped(mxc, reason))


Withdraw = Callable[[Collection[Mxc], Collection[str]], Awaitable[None]]
"""Forget what caches have of media and of contents (SHA-256), here and in other
processes, and break off what is just being sent of them."""


class Quarantine:
    """Sets and lifts quarantine.

    Args:
        withdraw: Called after each commit.
    """

    def __init__(
        self,
        *,
        db: Database,
        selections: SelectionStore,
        store: QuarantineStore,
        audit: AuditLog,
        withdraw: Withdraw,
    ) -> None:
        self._db = db
        self._selections = selections
        self._store = store
        self._audit = audit
        self._withdraw = withdraw

    async def set(
        self,
        selection: Selection,
        reach: Reach,
        quarantined: bool,
        *,
        actor: str,
        reason: str = "",
    ) -> QuarantineResult:
        """Quarantine what is selected and all copies of it within reach, or release it.

        When this returns, no route of this process gives out a byte of it (R84).
        Pinned media stays. It goes on when the caller leaves.

        Args:
            reach: Everything, or one server; not one user.
            actor: Who does it, for the audit log.
            reason: Why.

        Raises:
            MatrixError: 503.
        """
        if reach.user_id is not None:
            raise forbidden()
        return await shield(self._set(selection, reach, quarantined, actor, reason))

    async def _set(
        self,
        selection: Selection,
        reach: Reach,
        quarantined: bool,
        actor: str,
        reason: str,
    ) -> QuarantineResult:
        result = QuarantineResult()
        name = "quarantine" if quarantined else "unquarantine"
        async with self._audit.action(actor, name, selection.target, reason) as action:
            place = None
            while True:
                rows, place = await self._selections.page(
                    selection.filter, place, _BATCH
                )
                within = [row for row in rows if reach.covers(row)]
                for row in rows:
                    if not reach.covers(row):
                        result.skip(row.mxc, "not_permitted")
                hashes = list({row.sha256_hash for row in within})
                while hashes:
                    hashes = await self._step(
                        hashes, quarantined, reach.origin, action, result
                    )
                action.skipped = len(result.skipped)
                if place is None:
                    break
            await self._list_unknown(selection, result)
        return result

    async def _step(
        self,
        hashes: list[str],
        quarantined: bool,
        origin: str | None,
        action: RunningAction,
        result: QuarantineResult,
    ) -> list[str]:
        """One transaction, and what must follow it at once.

        Returns:
            The contents that are not done yet.
        """
        step = await self._db.interaction(
            "quarantine", self._step_txn, hashes, quarantined, origin, action
        )
        if step.touched:
            await self._withdraw(step.touched, step.contents)
        action.added(len(step.changed))
        result.add(step.changed)
        for mxc in step.removed:
            result.skip(mxc, "purged")
        for mxc in step.pinned:
            result.skip(mxc, "pinned")
        return step.rest

    def _step_txn(
        self,
        txn: Transaction,
        hashes: list[str],
        quarantined: bool,
        origin: str | None,
        action: RunningAction,
    ) -> QuarantineStep:
        step = self._store.step_txn(txn, hashes, quarantined, origin)
        action.add_txn(txn, len(step.changed))
        return step

    async def _list_unknown(
        self, selection: Selection, result: QuarantineResult
    ) -> None:
        """Named media that isn't here: nothing keeps it from being fetched."""
        names = selection.filter.media
        if names is None:
            return
        for start in range(0, len(names), _BATCH):
            part = names[start : start + _BATCH]
            here = await self._selections.get_known(part)
            for mxc in part:
                if mxc not in here:
                    result.skip(mxc, "unknown")
