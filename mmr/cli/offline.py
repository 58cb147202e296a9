"""Programs that need the database and the datastores, but serve nobody."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react
from twisted.python.failure import Failure

from mmr.config import config_paths, load_config
from mmr.errors import ConfigError, MatrixError, StartupError
from mmr.server import MediaRepoServer

OK, FOUND, MISTAKE = 0, 1, 2
"""Exit statuses: all is well, something is left to do, it could not be done."""

# Not machine 0, so that the server's tasks and sweeps stay the server's.
_MACHINE_ID = 1023
_SWITCH_SECONDS = 0.0005

Work = Callable[[MediaRepoServer], Awaitable[int]]


def run_offline(paths: Sequence[Path], work: Work) -> int:
    """Open what the configuration names, do the work, close. Gives the exit status."""
    _log_to_stderr()
    try:
        config = load_config(config_paths(list(paths), os.environ))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return MISTAKE

    async def run(reactor: Any) -> int:
        server = MediaRepoServer(config, reactor, _MACHINE_ID)
        try:
            await server.open()
            return await work(server)
        finally:
            await server.stop()

    return run_reactor(run)


def run_alone(work: Callable[[Any], Awaitable[int]]) -> int:
    """Do work that needs a reactor and no configuration. Gives the exit status."""
    _log_to_stderr()
    return run_reactor(work)


def _log_to_stderr() -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s"
    )


def run_reactor(work: Callable[[Any], Awaitable[int]]) -> int:
    """Do the work; a signal breaks it off. Gives the exit status."""
    statuses: list[int] = []

    def begin(reactor: Any) -> Deferred[None]:
        running = Deferred.fromCoroutine(_told(work, reactor))
        ended = running.addCallbacks(statuses.append, _interrupted)
        reactor.addSystemEventTrigger("before", "shutdown", _end, ended)
        return ended

    # It ends by raising; what went wrong has been said by then.
    with contextlib.suppress(SystemExit):
        react(begin)
    return statuses[0] if statuses else MISTAKE


def _end(running: Deferred[None]) -> Deferred[None]:
    """A signal came, or all is done: else threads would keep the process."""
    over: Deferred[None] = Deferred()
    running.addBoth(lambda _: over.callback(None))
    running.cancel()
    return over


def _interrupted(failure: Failure) -> None:
    failure.trap(CancelledError)
    print("interrupted", file=sys.stderr)


async def _told(work: Callable[[Any], Awaitable[int]], reactor: Any) -> int:
    _tune()
    try:
        return await work(reactor)
    except (StartupError, MatrixError, OSError) as error:
        # A full disk, too many open files: what is done is done.
        print(error, file=sys.stderr)
        return MISTAKE


def _tune() -> None:
    """Threads read and write files while one makes objects by the thousand."""
    # What was loaded stays: it isn't looked through again.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    # A thread that comes back from the disk waits this long for the others.
    sys.setswitchinterval(_SWITCH_SECONDS)
