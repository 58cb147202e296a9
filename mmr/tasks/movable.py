"""One media on the move, where it comes from, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import attrs

from mmr.media.adopted import AdoptedMedia
from mmr.util.threads import Runner

# Of one media in memory, besides the last chunk.
_READ_AHEAD_BYTES = 1024 * 1024


@attrs.frozen(slots=True)
class Movable:
    """One media at its old home.

    Attributes:
        chunks: Reads it; raises `SourceError`.
        probe: Looks whether it is there, without reading it. Likewise.
        row: What it was made of, for `Batch.read_small`.
    """

    media: AdoptedMedia
    chunks: Callable[[], AsyncIterator[bytes]]
    probe: Callable[[], Awaitable[None]]
    row: Any = None


ReadSmall = Callable[[Sequence[Movable]], Awaitable[list[bytes | None]]]


@attrs.frozen(slots=True)
class Batch:
    """Some rows of the old home's database.

    Attributes:
        skipped: Why others don't move, and how many.
        read_small: Reads many small ones, each whole, for little more than one; gives
            None for one that has to be read by itself, also to learn why it can't be.
            None: it can't.
    """

    media: Sequence[Movable]
    skipped: Counter[str]
    read_small: ReadSmall | None = None


@attrs.frozen(slots=True)
class Handled:
    """What became of one media.

    Attributes:
        word: What it is counted as.
        detail: Why; empty unless the operator has to know of it by name.
    """

    word: str
    size_bytes: int = 0
    detail: str = ""


HandleSmall = Callable[[Sequence[tuple[AdoptedMedia, bytes]]], Awaitable[list[Handled]]]


@attrs.define
class Tally:
    """What became of everything that was looked at."""

    counts: Counter[str] = attrs.Factory(Counter)
    size_bytes: int = 0
    faults: int = 0


async def read_in_threads(
    open_chunks: Callable[[], Iterator[bytes]], threads: Runner
) -> AsyncIterator[bytes]:
    """The bytes of one media, read where it may block, some at a time.

    Raises:
        SourceError: when they can't be had.
    """
    chunks = open_chunks()
    is_end = False
    while not is_end:
        pieces, is_end = await threads.run(_take, chunks)
        for piece in pieces:
            yield piece


def _take(chunks: Iterator[bytes]) -> tuple[list[bytes], bool]:
    """Some chunks, and whether they were the last: a small file takes one hop."""
    pieces: list[bytes] = []
    size = 0
    for piece in chunks:
        pieces.append(piece)
        size += len(piece)
        if size >= _READ_AHEAD_BYTES:
            return pieces, False
    return pieces, True
