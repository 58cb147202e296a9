"""The Synapse that media moves to, as flags name it."""

from __future__ import annotations

import contextlib
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from mmr.cli.arguments import Arguments
from mmr.cli.homeserver_database import open_database
from mmr.cli.moving import Handle, Source, handled, look, move, reading_threads
from mmr.datastores.file import FileDatastore
from mmr.datastores.folders import TEMPORARY
from mmr.interop.foreign_database import ForeignDatabase
from mmr.interop.synapse_config import read_synapse_config
from mmr.interop.synapse_rows import SynapseRows
from mmr.interop.synapse_store import SynapseFolder
from mmr.tasks.moving import Handled, Movable
from mmr.tasks.synapse_keeper import SynapseKeeper
from mmr.tasks.synapse_thumbnails import SynapseThumbnails
from mmr.thumbnailing.pool import ThumbnailPool
from mmr.types import Kind
from mmr.util.clock import Clock
from mmr.util.threads import Runner

_STORE = Path("./media_store")


def add_target_flags(parser: Arguments) -> None:
    """Add the flags for the Synapse; its database's are `add_database_flags`'."""
    parser.flag("serverName", "Synapse's server_name", default="")
    parser.flag("mediaDirectory", f"Synapse's media_store_path ({_STORE})", type=Path)
    parser.flag(
        "homeserverConfig",
        "Synapse's homeserver.yaml, may be repeated",
        type=Path,
        action="append",
        default=[],
    )
    parser.switch("generateThumbnails", "draw the thumbnails that Synapse has")
    parser.switch("debug", "accepted for MMR's sake; not used")
    parser.switch("prettyLog", "accepted for MMR's sake; not used")


class SynapseTarget:
    """Takes media.

    Args:
        options: Of `add_target_flags` and `add_database_flags`.
        files: Threads for Synapse's media folder.

    Attributes:
        server_name: As the flags or homeserver.yaml say; may be empty.

    Raises:
        StartupError: when homeserver.yaml can't be read.
    """

    def __init__(
        self, options: Namespace, reactor: Any, clock: Clock, files: Runner
    ) -> None:
        self._options = options
        self._config = None
        if options.homeserverConfig:
            self._config = read_synapse_config(options.homeserverConfig)
        self._reactor = reactor
        self._clock = clock
        self._files = files
        named = self._config.server_name if self._config else ""
        self.server_name = options.serverName or named
        folder = self._config.folders[0] if self._config else _STORE
        self._folder = options.mediaDirectory or folder

    async def receive(
        self, source: Source, server_name: str, thumbnails: ThumbnailPool
    ) -> int:
        """Take everything that Synapse doesn't have. Gives the exit status.

        Args:
            thumbnails: Draws, if the flags say so.

        Raises:
            StartupError: when folder or database can't be used.
            DatastoreError: when the folder takes no more.
        """
        options = self._options
        # Not to be made: a new folder would be a mistyped one.
        SynapseFolder([self._folder])
        connection = self._open()
        with contextlib.closing(connection):
            rows = SynapseRows(connection, server_name)
            store = self._store()
            async with reading_threads(self._reactor, 1) as threads:
                keeper = SynapseKeeper(
                    store,
                    rows,
                    server_name,
                    threads=threads,
                    thumbnails=(
                        SynapseThumbnails(thumbnails)
                        if options.generateThumbnails
                        else None
                    ),
                )
                handle: Handle = look
                if not options.dryRun:
                    await store.check()
                    await store.sweep_temporary(0)
                    handle = _putting(keeper)
                try:
                    return await move(
                        handle,
                        keeper.find_taken,
                        options.workers,
                        source,
                        self._reactor,
                    )
                finally:
                    self._remove_temporary()

    def _open(self) -> ForeignDatabase:
        if self._config is not None and self._options.database is None:
            return self._config.open_database(writing=True)
        return open_database(self._options, writing=True)

    def _store(self) -> FileDatastore:
        kinds = frozenset({Kind.LOCAL_MEDIA})
        return FileDatastore(
            "synapse",
            kinds,
            str(self._folder),
            self._files,
            self._clock,
            lambda: 0,
            may_link_tops=True,
        )

    def _remove_temporary(self) -> None:
        with contextlib.suppress(OSError):
            os.rmdir(self._folder / TEMPORARY)


def _putting(keeper: SynapseKeeper) -> Handle:
    async def put(movable: Movable) -> Handled:
        return handled(await keeper.adopt(movable.media, movable.chunks()))

    return put
