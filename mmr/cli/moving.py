"""What the programs that move media in and out have in common."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from twisted.internet.threads import deferToThreadPool

from mmr.cli.arguments import Arguments
from mmr.cli.offline import FOUND, OK
from mmr.cli.progress import ProgressBar
from mmr.errors import StartupError
from mmr.interop.homeserver_downloads import HomeserverDownloads
from mmr.media.adopted import AdoptedMedia, AdoptOutcome
from mmr.server import MediaRepoServer
from mmr.tasks.movable import Batch, Handled, HandleSmall, Movable, Tally
from mmr.tasks.moving import Moving
from mmr.tasks.verification import Verification
from mmr.types import Mxc
from mmr.util.threads import WorkerPool

TOKEN_VARIABLE = "HOMESERVER_ACCESS_TOKEN"  # noqa: S105 - a name, not a token
STATUS_HELP = """\
Each media that can't be moved is one line on standard output: what is the matter, its
address, why. The rest goes on. Run it again to go on where it stopped, or for what has
come since: what is here already is skipped.

exit status: 0 when all is well, 1 when some media is named, 2 for a mistake or when the
database, the homeserver or the disk gave up
"""

_MAX_WORKERS = 100
_MAX_WAITING = 1000
Handle = Callable[[Movable], Awaitable[Handled]]

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


class Source(Protocol):
    """What there is to move. Raises `StartupError` when it can't be told."""

    async def count(self) -> int:
        """How many rows there are, for the progress bar."""
        ...

    def batches(self) -> AsyncIterator[Batch]:
        """All rows."""
        ...


def add_moving_flags(parser: Arguments) -> None:
    """Add the flags for where media comes from and goes to (mmr-tools.md §3)."""
    parser.paths("config", "mmr's configuration")
    parser.flag("migrations", "accepted for MMR's sake; not used", default="")
    parser.flag("serverName", "the homeserver's name, as in user ids", default="")
    parser.flag("baseUrl", "where the homeserver itself answers", default="")
    help = f"a user's there; better in the environment, as {TOKEN_VARIABLE}"
    parser.flag("accessToken", help, default="")
    parser.switch("verify", "copy nothing; compare what is here, byte for byte")
    add_running_flags(parser)


def add_running_flags(parser: Arguments) -> None:
    """Add the flags for how it is done."""
    parser.flag("workers", "how many are read at once (10)", type=_workers, default=10)
    parser.switch("dryRun", "copy nothing; say what would be")


def _workers(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= _MAX_WORKERS:
        return int(text)
    raise ArgumentTypeError(f"expected 1 to {_MAX_WORKERS}, found {text!r}")


def server_name_of(server: MediaRepoServer, given: str) -> str:
    """The homeserver whose media it is; must be one that mmr serves.

    Args:
        given: By a flag, or by the homeserver's own configuration; may be empty.

    Raises:
        StartupError: when it can't be told.
    """
    ours = list(server.config.domains)
    if not given and len(ours) == 1:
        return ours[0]
    if given.lower() in ours:
        return given
    raise StartupError(
        f"-serverName is {given!r}, and mmr's configuration names {', '.join(ours)}: "
        "give the one whose media it is, or add it to `homeservers`"
    )


def downloads_of(options: Namespace, default_url: str) -> HomeserverDownloads:
    """The homeserver's own API, as `add_moving_flags` named it."""
    token = options.accessToken or os.environ.get(TOKEN_VARIABLE)
    return HomeserverDownloads(options.baseUrl or default_url, token or None)


@asynccontextmanager
async def reading_threads(reactor: Any, workers: int) -> AsyncIterator[WorkerPool]:
    """Threads for whatever of the other server's blocks."""
    threads = WorkerPool("sources", workers, _MAX_WAITING, reactor)
    threads.start()
    try:
        yield threads
    finally:
        await deferToThreadPool(reactor, reactor.getThreadPool(), threads.stop)


async def move_in(server: MediaRepoServer, options: Namespace, source: Source) -> int:
    """Move, compare or look, as the flags say. Gives the exit status."""
    handle_small = None
    if options.verify:
        handle: Handle = Verification(
            server.stores.media, server.stores.attributes, server.content, server.files
        ).verify
    elif options.dryRun:
        handle = look
    else:
        handle = _storing(server)
        handle_small = together_by(server.adoptions.adopt_small)
    find_taken = None if options.verify else server.stores.registrations.find_taken
    return await move(
        handle, handle_small, find_taken, options.workers, source, server.reactor
    )


def _storing(server: MediaRepoServer) -> Handle:
    async def store(movable: Movable) -> Handled:
        return handled(await server.adoptions.adopt(movable.media, movable.chunks()))

    return store


def together_by(
    adopt_small: Callable[
        [Sequence[tuple[AdoptedMedia, bytes]]], Awaitable[list[AdoptOutcome]]
    ],
) -> HandleSmall:
    """Small media is handled by adopting it, and counted by what became of it."""

    async def store(files: Sequence[tuple[AdoptedMedia, bytes]]) -> list[Handled]:
        return [handled(outcome) for outcome in await adopt_small(files)]

    return store


async def look(movable: Movable) -> Handled:
    """What a dry run does with one media."""
    await movable.probe()
    return Handled("would be stored", movable.media.expected_bytes or 0)


def handled(outcome: AdoptOutcome) -> Handled:
    """An outcome as it is counted."""
    return Handled(outcome.adoption.value, outcome.size_bytes, outcome.detail)


async def move(
    handle: Handle,
    handle_small: HandleSmall | None,
    find_taken: Callable[[Sequence[Mxc]], Awaitable[set[Mxc]]] | None,
    workers: int,
    source: Source,
    reactor: Any,
) -> int:
    """Have everything handled, under a progress bar. Gives the exit status."""
    bar = ProgressBar("media", await source.count())

    def tell(mxc: Mxc, handled: Handled) -> None:
        bar.clear()
        print(
            f"{handled.word}\t{one_line(str(mxc))}\t{one_line(handled.detail)}",
            flush=True,
        )

    moving = Moving(
        handle,
        find_taken,
        handle_small=handle_small,
        workers=workers,
        advance=bar.add,
        tell=tell,
        reactor=reactor,
    )
    try:
        await moving.run(source.batches())
    finally:
        bar.finish()
        _summarise(moving.tally)
    return FOUND if moving.tally.faults else OK


def _summarise(tally: Tally) -> None:
    for word, count in sorted(tally.counts.items()):
        if count:
            print(f"{word}: {count}", file=sys.stderr)
    print(f"together: {human(tally.size_bytes)}", file=sys.stderr)


def human(size: float) -> str:
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} {_UNITS[-1]}"


def one_line(text: str) -> str:
    """R73: one media is one line, whatever it is called."""
    return "".join(char if char.isprintable() else "?" for char in text)
