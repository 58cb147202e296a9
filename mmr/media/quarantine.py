"""Quarantine: content that may not be served any more, in any shape (R84-R90)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection

import attrs

from mmr.errors import forbidden
from mmr.media.audit import AuditLog, RunningAction
from mmr.media.selection import Order, Selection, Skipped
from mmr.storage.database import Database
from mmr.storage.quarantine import QuarantineStep, QuarantineStore
from mmr.storage.quarantine_changes import QuarantineChangeStore
from mmr.storage.selection import SelectedMedia, SelectionStore
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


Progress = Callable[[QuarantineResult], Awaitable[None]]
"""Told what was done so far."""


async def _unwatched(result: QuarantineResult) -> None:
    """For those that nobody follows."""


def action_name(quarantined: bool) -> str:
    """The name in the audit log."""
    return "quarantine" if quarantined else "unquarantine"


class Quarantine:
    """Sets and lifts quarantine.

    Args:
        withdraw: Called after each commit.
        unpublish: See `Rekey.run`.
    """

    def __init__(
        self,
        *,
        db: Database,
        selections: SelectionStore,
        store: QuarantineStore,
        changes: QuarantineChangeStore,
        audit: AuditLog,
        withdraw: Withdraw,
        unpublish: Callable[[Collection[str]], Awaitable[list[Mxc]]],
    ) -> None:
        self._db = db
        self._selections = selections
        self._store = store
        self._changes = changes
        self._audit = audit
        self._withdraw = withdraw
        self._unpublish = unpublish

    async def is_large(self, selection: Selection) -> bool:
        """Whether that is more than a step or two, copies included."""
        rows, place = await self._selections.page(selection.filter, None, _BATCH)
        if place is not None:
            return True
        hashes = {row.sha256_hash for row in rows}
        return await self._selections.have_more_copies_than(hashes, _BATCH)

    async def count(self, selection: Selection) -> int:
        """How many media are selected, without their copies."""
        return await self._selections.count(selection.filter)

    async def set(
        self, order: Order, quarantined: bool, progress: Progress | None = None
    ) -> QuarantineResult:
        """Quarantine what is selected and all copies of it within reach, or release it.

        When this returns, no route of this process gives out a byte of it (R84).
        Pinned media stays. It goes on when the caller leaves.

        Args:
            order: Its reach is everything, or one server; not one user.
            progress: See `Purge.run`.

        Raises:
            MatrixError: 503.
        """
        if order.reach.user_id is not None:
            raise forbidden()
        if progress is not None:
            return await self._set(order, quarantined, progress)
        return await shield(self._set(order, quarantined, _unwatched))

    async def _set(
        self, order: Order, quarantined: bool, progress: Progress
    ) -> QuarantineResult:
        result = QuarantineResult()
        async with self._audit.action(
            order.actor,
            action_name(quarantined),
            order.selection.target,
            order.reason,
            entry_id=order.entry_id,
        ) as action:
            async for rows in self._pages(order, result):
                hashes = list({row.sha256_hash for row in rows})
                while hashes:
                    hashes = await self._step(
                        hashes, quarantined, order.reach.origin, action, result
                    )
                    await progress(result)
                action.skipped = len(result.skipped)
            await self._list_unknown(order.selection, result)
        return result

    async def _pages(
        self, order: Order, result: QuarantineResult
    ) -> AsyncIterator[list[SelectedMedia]]:
        """Records within reach."""
        place = None
        while True:
            rows, place = await self._selections.page(
                order.selection.filter, place, _BATCH
            )
            for row in rows:
                if not order.reach.covers(row):
                    result.skip(row.mxc, "not_permitted")
            yield [row for row in rows if order.reach.covers(row)]
            if place is None:
                return

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
            # What was released may be asked for at once: nobody is to cut that off.
            contents = step.contents if quarantined else ()
            await self._withdraw(step.touched, contents)
        action.added(len(step.changed))
        result.add(step.changed)
        for mxc in step.removed:
            result.skip(mxc, "purged")
        for mxc in step.pinned:
            result.skip(mxc, "pinned")
        if quarantined:
            done = set(hashes).difference(step.rest)
            for mxc in await self._unpublish(done):
                result.skip(mxc, "still_public")
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
        if action.id is not None:
            media = [*step.changed, *step.removed]
            self._changes.add_txn(txn, action.id, media, quarantined)
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
