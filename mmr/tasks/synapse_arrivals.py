"""Media on its way into a Synapse, many together: files into its folder, then rows.

In this order, each durable before the next: a row without a file would be a broken
picture, a file without a row is found and replaced by the next run.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import attrs

from twisted.internet.defer import Deferred

from mmr.datastores.file import FileDatastore
from mmr.interop.foreign_database import RowRefused
from mmr.interop.synapse_database import SynapseMedia
from mmr.interop.synapse_rows import NewSynapseMedia, SynapseRows
from mmr.media.adopted import Adoption, AdoptOutcome
from mmr.tasks.synapse_thumbnails import Drawn, SynapseThumbnails, objects_of
from mmr.types import Mxc
from mmr.util.countdown import Countdown
from mmr.util.memory_file import Payload
from mmr.util.threads import Runner

_MAX_GROUP = 512
_MAX_GROUP_BYTES = 16 * 1024 * 1024
# One writes files while the other talks to the database.
_AT_ONCE = 2


@attrs.define(eq=False)
class Arrival:
    """One media that goes into the Synapse.

    Attributes:
        media: Its row.
        path: Its file's place.
        data: None: its file is in its place already.
    """

    media: SynapseMedia
    path: str
    sha256: str
    data: Payload | None
    thumbnails: list[Drawn] = attrs.field(factory=list, init=False)

    @property
    def paths(self) -> list[str]:
        """All of its files."""
        return [self.path, *(each.path for each in self.thumbnails)]


@attrs.define(eq=False)
class _Waiting:
    """An arrival in the queue, and what becomes of it."""

    arrival: Arrival
    caller: Countdown
    outcome: AdoptOutcome | Exception | None = None

    @property
    def mxc(self) -> Mxc:
        return self.arrival.media.mxc


class SynapseArrivals:
    """Puts media into a Synapse; what waits goes together.

    What waits is bounded by the callers: each waits for its own.

    Args:
        store: Synapse's media folder.
        rows: Its database.
        threads: Where the database is talked to: one thread.
        thumbnails: Draws them; None: Synapse gets none.
    """

    def __init__(
        self,
        store: FileDatastore,
        rows: SynapseRows,
        *,
        threads: Runner,
        thumbnails: SynapseThumbnails | None,
    ) -> None:
        self._store = store
        self._rows = rows
        self._threads = threads
        self._thumbnails = thumbnails
        self._queue: deque[_Waiting] = deque()
        self._running = 0
        self._under_way: set[Mxc] = set()

    async def put(self, arrivals: Sequence[Arrival]) -> list[AdoptOutcome]:
        """Keep some, unless Synapse has them. Durable when this returns.

        Raises:
            DatastoreError: the folder can't be written to.
            ForeignDatabaseError: the database doesn't work.
        """
        if not arrivals:
            return []
        caller = Countdown(len(arrivals))
        ours = [_Waiting(arrival, caller) for arrival in arrivals]
        self._queue.extend(ours)
        while self._running < _AT_ONCE and (group := self._next()):
            self._running += 1
            Deferred.fromCoroutine(self._drain(group))
        await caller.done
        return [_outcome_of(each) for each in ours]

    async def clear(self, paths: Sequence[str]) -> None:
        """Remove what is there and has no row: a run before this one was cut off."""
        base = self._store.folders.base
        for path in await self._store.files.run(_present, base, paths):
            await self._store.delete(path)

    async def _drain(self, group: list[_Waiting]) -> None:
        try:
            while group:
                await self._settle(group)
                group = self._next()
        finally:
            self._running -= 1

    def _next(self) -> list[_Waiting]:
        """The next group, which has no id that is under way.

        It may be empty though some wait: then whoever has that id takes them.
        """
        group: list[_Waiting] = []
        size = 0
        while self._queue and len(group) < _MAX_GROUP and size < _MAX_GROUP_BYTES:
            if self._queue[0].mxc in self._under_way:
                break
            group.append(self._queue.popleft())
            self._under_way.add(group[-1].mxc)
            size += len(group[-1].arrival.data or b"")
        return group

    async def _settle(self, group: list[_Waiting]) -> None:
        try:
            await self._put_group(group)
        except Exception as error:
            for each in group:
                each.outcome = error
        self._under_way.difference_update([each.mxc for each in group])
        for each in group:
            each.caller.settle()

    async def _put_group(self, group: list[_Waiting]) -> None:
        # Whoever has a row has a file, which isn't ours to replace.
        taken = await self._threads.run(
            self._rows.find_taken, [each.mxc for each in group]
        )
        for each in group:
            if each.mxc in taken:
                each.outcome = known(each.arrival.media.size_bytes)
        new = [each for each in group if each.outcome is None]
        arrivals = [each.arrival for each in new]
        await self._place(arrivals)
        outcomes = await self._insert(arrivals)
        for each, outcome in zip(new, outcomes, strict=True):
            each.outcome = outcome

    async def _place(self, group: list[Arrival]) -> None:
        await self._put_all(
            [(each.path, each.data) for each in group if each.data is not None]
        )
        if self._thumbnails is not None:
            for each in group:
                file = Path(self._store.folders.path_of(each.path))
                each.thumbnails = await self._thumbnails.draw(
                    each.media, file, each.sha256
                )
                await self._put_all(objects_of(each.thumbnails))
        paths = [path for each in group for path in each.paths]
        await self._store.files.run(_give_to_owner, self._store.folders.base, paths)

    async def _put_all(self, objects: Sequence[tuple[str, Payload]]) -> None:
        if not objects:
            return
        paths = [path for path, _ in objects]
        await self.clear(paths)
        taken = await self._store.take([data for _, data in objects])
        try:
            await taken.put(paths)
        finally:
            taken.close()

    async def _insert(self, group: list[Arrival]) -> list[AdoptOutcome]:
        rows = [
            NewSynapseMedia(each.media, [drawn.row for drawn in each.thumbnails])
            for each in group
        ]
        try:
            await self._threads.run(self._rows.insert, rows)
        except RowRefused as error:
            if len(group) > 1:
                half = len(group) // 2
                first = await self._insert(group[:half])
                return first + await self._insert(group[half:])
            return [await self._give_up(group[0], str(error))]
        return [
            AdoptOutcome(Adoption.STORED, each.media.size_bytes or 0) for each in group
        ]

    async def _give_up(self, refused: Arrival, reason: str) -> AdoptOutcome:
        mxc = refused.media.mxc
        row = (await self._threads.run(self._rows.find, [mxc])).get(mxc)
        # Another run may have been faster, and its row name this very file.
        if row is None or row.path != refused.path:
            for path in refused.paths:
                await self._store.delete(path)
        if row is None:
            return AdoptOutcome(Adoption.REFUSED, detail=reason)
        return known(row.size_bytes)


def known(size_bytes: int | None) -> AdoptOutcome:
    """What becomes of media that Synapse has."""
    return AdoptOutcome(Adoption.KNOWN, size_bytes or 0)


def _outcome_of(waiting: _Waiting) -> AdoptOutcome:
    if isinstance(waiting.outcome, Exception):
        raise waiting.outcome
    assert waiting.outcome is not None
    return waiting.outcome


def _present(base: str, paths: Sequence[str]) -> list[str]:
    return [path for path in paths if os.path.lexists(os.path.join(base, path))]


def _give_to_owner(base: str, paths: Sequence[str]) -> None:
    """When root puts files into Synapse's folder, they are Synapse's all the same."""
    if os.geteuid() != 0:
        return
    owner = os.stat(base)
    todo: set[str] = set()
    for path in paths:
        # Its folders, up to the first that is known already.
        while path and path not in todo:
            todo.add(path)
            path = os.path.dirname(path)
    for path in todo:
        os.chown(os.path.join(base, path), owner.st_uid, owner.st_gid)
