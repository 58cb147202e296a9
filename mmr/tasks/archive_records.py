"""The records of an archive, and how far each of them is."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Protocol

import attrs

from mmr.archives.catalogue import BATCH, Catalogue, State
from mmr.archives.manifest import ManifestHeader, MediaEntry
from mmr.archives.manifest_reader import ManifestReader, Refused
from mmr.media.adopted import AdoptedMedia, Adoption, AdoptOutcome, compare
from mmr.storage.media import MediaRecord
from mmr.tasks.archive_judge import Judge, Misplaced, NotWanted
from mmr.tasks.archive_part import spooled
from mmr.types import Mxc
from mmr.util.threads import Runner

MISSING = "missing"
REFUSED = "refused"
UNREADABLE = "unreadable"

_STATES = {
    Adoption.STORED: State.HERE,
    Adoption.KNOWN: State.HERE,
    Adoption.DAMAGED: State.DAMAGED,
    Adoption.CONFLICT: State.FAILED,
    Adoption.REFUSED: State.FAILED,
}


@attrs.frozen(slots=True)
class Problem:
    """Something that isn't imported.

    Attributes:
        word: What it is counted as.
        what: The part, the entry of a part, or the media.
        detail: Why not.
    """

    word: str
    what: str
    detail: str


Check = Callable[[AdoptedMedia, MediaRecord], Awaitable[AdoptOutcome]]
"""Says what it means that a media is here already."""


class Home(Protocol):
    """Where the media moves to."""

    async def get_several(self, media: Sequence[Mxc]) -> Mapping[Mxc, MediaRecord]:
        """The records of some media, as far as there are any."""
        ...


class ArchiveRecords:
    """What the manifest lists.

    Args:
        media: Knows what is here already.
        check: Says of media with a record here whether that is the same.
        make_judge: Called once the manifest is read.
        tell: Is told of everything that isn't imported, as it is found.
        advance: Is told how many more media are done.

    Attributes:
        tally: How many media were stored, known, ….
        size_bytes: Of what was stored.
    """

    def __init__(
        self,
        *,
        media: Home,
        threads: Runner,
        make_judge: Callable[[ManifestHeader], Judge],
        tell: Callable[[Problem], None],
        advance: Callable[[int], None] = lambda _: None,
        check: Check | None = None,
    ) -> None:
        self.tally: Counter[str] = Counter()
        self.size_bytes = 0
        self._media = media
        self._threads = threads
        self._make_judge = make_judge
        self._tell = tell
        self._advance = advance
        self._check = check or _compared
        self._catalogue = Catalogue()
        self._judge: Judge | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether the manifest was read."""
        return self._judge is not None

    async def close(self) -> None:
        """Let go of the scratch database."""
        await self._threads.run(self._catalogue.close)

    async def count(self, *states: State) -> int:
        """How many records are that far; all, when none is named."""
        return await self._threads.run(self._catalogue.count, *states)

    async def load(self, pieces: AsyncIterator[bytes]) -> None:
        """Take in the manifest, unless that has happened.

        Raises:
            ManifestError: it can't be used.
        """
        if self.is_loaded:
            return
        async with spooled(pieces, self._threads) as file:
            file.seek(0)
            manifest = ManifestReader(file)
            records = iter(manifest)
            while batch := await self._threads.run(_some, records):
                for record in await self._threads.run(self._catalogue.add, batch):
                    self.tell(REFUSED, record.key, record.reason)
            self._judge = self._make_judge(manifest.header)

    async def sort_out(self) -> None:
        """Set aside what isn't wanted, and what is here already."""
        async for batch in self._wanted():
            states: dict[State, list[Mxc]] = defaultdict(list)
            sound: dict[Mxc, MediaEntry] = {}
            for entry in batch:
                mxc = entry.mxc
                try:
                    self._check_entry(entry)
                except NotWanted:
                    states[State.LEFT_OUT].append(mxc)
                except Misplaced as error:
                    states[State.FAILED].append(mxc)
                    self.tell(REFUSED, str(mxc), str(error))
                else:
                    sound[mxc] = entry
            await self._settle_known(sound)
            await self._mark(states)
            self._advance(sum(map(len, states.values())))

    async def _settle_known(self, sound: Mapping[Mxc, MediaEntry]) -> None:
        known = await self._media.get_several(list(sound)) if sound else {}
        here = [(self._media_of(sound[mxc]), known[mxc]) for mxc in known]
        await self.settle(
            [(item, await self._check(item, record)) for item, record in here]
        )

    def find(self, names: Collection[str]) -> list[tuple[str, AdoptedMedia]]:
        """What entries of a part are wanted for. Blocks: for pool threads."""
        return [
            (entry.file_name, self._media_of(entry))
            for entry in self._catalogue.find(names)
        ]

    async def with_urls(self) -> AsyncIterator[list[tuple[AdoptedMedia, str]]]:
        """Media that is wanted still and that a bucket may have, with its URL."""
        async for batch in self._wanted():
            yield [(self._media_of(each), each.s3_url) for each in batch if each.s3_url]

    async def settle(
        self, outcomes: Sequence[tuple[AdoptedMedia, AdoptOutcome]]
    ) -> None:
        """Note, count and tell what has become of some media."""
        states: dict[State, list[Mxc]] = defaultdict(list)
        for item, outcome in outcomes:
            states[_STATES[outcome.adoption]].append(item.mxc)
            word = outcome.adoption.value
            if outcome.is_here:
                self.tally[word] += 1
            else:
                self.tell(word, str(item.mxc), outcome.detail)
            if outcome.adoption is Adoption.STORED:
                self.size_bytes += outcome.size_bytes
        await self._mark(states)
        self._advance(len(outcomes))

    async def tell_missing(self) -> None:
        """Name all that is wanted still."""
        async for batch in self._wanted():
            for entry in batch:
                detail = f"no part holds {entry.file_name or 'it'}"
                if entry.s3_url:
                    detail += f", and {entry.s3_url} is in no datastore of ours"
                self.tell(MISSING, str(entry.mxc), detail)

    def tell(self, word: str, what: str, detail: str) -> None:
        """Count and tell a problem."""
        self.tally[word] += 1
        self._tell(Problem(word, what, detail))

    def _check_entry(self, entry: MediaEntry) -> None:
        assert self._judge is not None
        self._judge.check(entry)

    def _media_of(self, entry: MediaEntry) -> AdoptedMedia:
        assert self._judge is not None
        return self._judge.media_of(entry)

    async def _mark(self, states: dict[State, list[Mxc]]) -> None:
        for state, media in states.items():
            await self._threads.run(self._catalogue.mark, media, state)

    async def _wanted(self) -> AsyncIterator[list[MediaEntry]]:
        batches = self._catalogue.batches()
        none: list[MediaEntry] = []
        while batch := await self._threads.run(next, batches, none):
            yield batch


async def _compared(item: AdoptedMedia, record: MediaRecord) -> AdoptOutcome:
    return compare(item, record)


def _some(records: Iterator[MediaEntry | Refused]) -> list[MediaEntry | Refused]:
    return list(itertools.islice(records, BATCH))
