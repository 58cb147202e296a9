"""The Synapse that media moves to, as flags name it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from argparse import Namespace
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mmr.cli.arguments import Arguments
from mmr.cli.homeserver_database import open_database
from mmr.cli.moving import reading_threads
from mmr.datastores.file import FileDatastore
from mmr.datastores.file_hand import FileHand
from mmr.datastores.folders import TEMPORARY
from mmr.interop.foreign_database import ForeignDatabase
from mmr.interop.media_folder import MediaFolder
from mmr.interop.synapse_config import read_synapse_config
from mmr.interop.synapse_rows import SynapseRows
from mmr.tasks.synapse_keeper import SynapseKeeper
from mmr.tasks.synapse_thumbnails import SynapseThumbnails
from mmr.thumbnailing.pool import ThumbnailPool
from mmr.types import Kind
from mmr.util.clock import Clock
from mmr.util.confined.limits import WorkerLimits
from mmr.util.threads import Runner

_MAX_WAITING_RENDERS = 100
_STORE = Path("./media_store")


def add_target_flags(parser: Arguments) -> None:
    """Add the flags for the Synapse; its database's are `add_database_flags`'."""
    parser.flag("serverName", "Synapse's server_name", default="")
    parser.flag("mediaDirectory", f"Synapse's media_store_path ({_STORE})", type=Path)
    parser.paths("homeserverConfig", "Synapse's homeserver.yaml")
    parser.switch("generateThumbnails", "draw the thumbnails that Synapse has")
    parser.switch("debug", "accepted for MMR's sake; not used")
    parser.switch("prettyLog", "accepted for MMR's sake; not used")


def thumbnail_pool(clock: Clock, reactor: Any) -> ThumbnailPool:
    """Draws, without a server. Workers start when they are needed."""
    folder = Path(tempfile.gettempdir())
    workers = os.cpu_count() or 1
    return ThumbnailPool(
        workers, _MAX_WAITING_RENDERS, WorkerLimits(), clock, reactor, folder
    )


class SynapseTarget:
    """Takes media.

    Args:
        options: Of `add_target_flags` and `add_database_flags`.
        files: Threads for Synapse's media folder.

    Attributes:
        server_name: As the flags or homeserver.yaml say; may be empty.
        clock: As given.
        files: As given.

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
        self.clock = clock
        self.files = files
        named = self._config.server_name if self._config else ""
        self.server_name = options.serverName or named
        folder = self._config.folders[0] if self._config else _STORE
        self._folder = options.mediaDirectory or folder

    @contextlib.asynccontextmanager
    async def opened(
        self, server_name: str, thumbnails: ThumbnailPool
    ) -> AsyncIterator[SynapseKeeper]:
        """Folder and database, ready to take media.

        Args:
            thumbnails: Draws, if the flags say so.

        Raises:
            StartupError: when folder or database can't be used.
        """
        # Not to be made: a new folder would be a mistyped one.
        MediaFolder([self._folder])
        connection = self._open()
        with contextlib.closing(connection):
            rows = SynapseRows(connection, server_name)
            store = self._store()
            if not self._options.dryRun:
                await store.check()
                await store.sweep_temporary(0)
            draws = self._options.generateThumbnails
            async with reading_threads(self._reactor, 1) as threads:
                try:
                    yield SynapseKeeper(
                        store,
                        rows,
                        server_name,
                        threads=threads,
                        thumbnails=SynapseThumbnails(thumbnails) if draws else None,
                    )
                finally:
                    await store.rest()
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
            self.files,
            self.clock,
            lambda: 0,
            may_link_tops=True,
            hand=FileHand(),
        )

    def _remove_temporary(self) -> None:
        with contextlib.suppress(OSError):
            os.rmdir(self._folder / TEMPORARY)
