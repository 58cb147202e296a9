"""Who waits for what in the pool: requests, gathered by the source that they share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import attrs

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from mmr.thumbnailing.desk import Desk
from mmr.thumbnailing.model import BlurhashSize, ImageInfo, Rendered, RenderOptions
from mmr.thumbnailing.sizes import TargetSize


@attrs.frozen
class Group:
    """What requests must have in common to share a decode, and a failure."""

    key: str
    declared_type: str
    options: RenderOptions
    describe: bool = False
    blurhash: BlurhashSize | None = None


@attrs.frozen
class Found:
    """An answer."""

    info: ImageInfo
    rendered: Rendered | None


@attrs.frozen(eq=False)
class Asker:
    """Somebody who waits, and the file that was brought along."""

    source: Path
    answer: Deferred[Found]


# What is wanted: a thumbnail, or (None) only the information.
Wanted = TargetSize | None


@attrs.define(eq=False)
class Task:
    """The requests for one source.

    Attributes:
        gathering: Set while the task is not to be started yet.
        desk: Where it runs.
        reading: Whose file is read there.
        lingering: Set while it runs for nobody, until it is given up.
        is_given_up: Nobody can join it any more.
    """

    group: Group
    askers: dict[Wanted, list[Asker]] = attrs.field(factory=dict)
    gathering: IDelayedCall | None = None
    desk: Desk | None = None
    reading: Asker | None = None
    lingering: IDelayedCall | None = None
    is_given_up: bool = False
    _at_the_end: list[Deferred[None]] = attrs.field(factory=list)

    @property
    def targets(self) -> tuple[TargetSize, ...]:
        """The thumbnails that are wanted, in order."""
        return tuple(wanted for wanted in self.askers if wanted is not None)

    @property
    def is_wanted(self) -> bool:
        """Whether anybody still waits."""
        return any(self.askers.values())

    def each_asker(self) -> Iterator[Asker]:
        """Everybody who waits."""
        return itertools.chain.from_iterable(self.askers.values())

    def takes(self, wanted: Wanted) -> bool:
        """Whether one more who wants this gets it here, although it runs already."""
        return wanted in self.askers and not self.is_given_up

    def add(self, wanted: Wanted, asker: Asker) -> None:
        """One more waits."""
        self.askers.setdefault(wanted, []).append(asker)

    def leave(self, wanted: Wanted, answer: Deferred[Found]) -> None:
        """One waits no more. What was asked for is still made, once it is begun."""
        left = [a for a in self.askers.pop(wanted, ()) if a.answer is not answer]
        if left or self.desk is not None:
            self.askers[wanted] = left

    def drop(self) -> list[Asker]:
        """Never start this; returns who waits for it."""
        if self.gathering is not None:
            self.gathering.cancel()
            self.gathering = None
        return list(self.each_asker())

    def split(self, targets: int) -> Task | None:
        """Move the targets past the first so many into a task of their own.

        And animated ones past the first: each takes as long as many stills.
        """
        animated = [target for target in self.targets if target.animated]
        now = [target for target in self.targets if target not in animated[1:]]
        rest = [target for target in self.targets if target not in now[:targets]]
        if not rest:
            return None
        later = Task(self.group)
        later.askers.update((target, self.askers.pop(target)) for target in rest)
        return later

    async def over(self) -> None:
        """Wait until nothing of it runs."""
        end: Deferred[None] = Deferred(lambda _: None)
        self._at_the_end.append(end)
        await end

    def ended(self) -> None:
        """Nothing of it runs any more."""
        if self.lingering is not None:
            self.lingering.cancel()
            self.lingering = None
        self.desk = self.reading = None
        for end in self._at_the_end:
            if not end.called:
                end.callback(None)
