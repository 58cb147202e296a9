"""Noticing that the configuration's files have changed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred

from mmr.config._layers import config_files
from mmr.errors import ConfigError
from mmr.util.clock import Clock
from mmr.util.threads import Runner

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
SETTLE_SECONDS = 1.0

State = tuple[tuple[str, int, int, int], ...]


def files_state(paths: Sequence[Path]) -> State:
    """Name, inode, size and time of every file that would be read. Blocks."""
    state = []
    for path in paths:
        try:
            files, _ = config_files(path)
        except ConfigError:
            continue  # It is told when it is loaded; here it is just not there.
        for file in files:
            try:
                stat = file.stat()
            except OSError:
                continue
            state.append((str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(state)


class ConfigWatcher:
    """Calls back once after the files have changed and have settled.

    It looks at names, not at open files, so files that are replaced by renaming, added
    or removed are noticed as well.

    Args:
        paths: As given to `load_config`.
        clock: For waiting between two looks.
        runner: Where the files are looked at, as that may block.
        on_change: What to do. An exception is logged, and watching goes on.
        known: How the files were when they were read: a start may take long.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        clock: Clock,
        runner: Runner,
        on_change: Callable[[], Awaitable[object]],
        known: State,
    ) -> None:
        self._paths = list(paths)
        self._clock = clock
        self._runner = runner
        self._on_change = on_change
        self._known = known
        self._watching: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._watching = Deferred.fromCoroutine(self._watch())
        self._watching.addErrback(lambda failure: failure.trap(CancelledError))

    def stop(self) -> None:
        """End it."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch(self) -> None:
        known = self._known
        while True:
            await self._clock.sleep(POLL_SECONDS)
            state = await self._look(known)
            if state == known:
                continue
            while state != known:
                known = state
                await self._clock.sleep(SETTLE_SECONDS)
                state = await self._look(known)
            await self._tell()

    async def _look(self, known: State) -> State:
        """The state; the known one when it can't be found out now."""
        try:
            return await self._runner.run(files_state, self._paths)
        except CancelledError:
            raise
        except Exception:
            logger.exception("Could not look at the configuration's files")
            return known

    async def _tell(self) -> None:
        try:
            await self._on_change()
        except CancelledError:
            raise
        except Exception:
            logger.exception("Could not apply the changed configuration")
