"""``mmr-import-to-synapse``: MMR's ``import_to_synapse`` (mmr-tools.md §5)."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmr.cli.archive_folder import Reception, read_folder
from mmr.cli.arguments import Arguments
from mmr.cli.homeserver_database import HELP, add_database_flags
from mmr.cli.moving import (
    STATUS_HELP,
    add_running_flags,
    handled,
    look,
    move,
    reading_threads,
    server_name_of,
    together_by,
)
from mmr.cli.offline import run_alone, run_offline
from mmr.cli.synapse_target import SynapseTarget, add_target_flags, thumbnail_pool
from mmr.datastores.registry import Datastores
from mmr.errors import StartupError
from mmr.server import MediaRepoServer
from mmr.storage.departures import DepartureStore
from mmr.tasks.archive_judge import Judge
from mmr.tasks.departing import Departing
from mmr.tasks.movable import Handled, Movable
from mmr.tasks.synapse_archive import ArchivedIntoSynapse
from mmr.thumbnailing.pool import ThumbnailPool
from mmr.util.clock import Clock

_ARCHIVE = Path("./gdpr-data")
_EXAMPLES = f"""\
  mmr-import-to-synapse -config media-repo.yaml \\
      --homeserver-config /etc/matrix-synapse/homeserver.yaml -generateThumbnails
  mmr-import-to-synapse -config media-repo.yaml -serverName example.org --remote \\
      -database sqlite:homeserver.db -mediaDirectory /var/lib/matrix-synapse/media
  mmr-import-to-synapse -directory ./gdpr-data -serverName example.org \\
      -dbHost db.internal -mediaDirectory /var/lib/matrix-synapse/media

Puts media into a Synapse: files into its media folder, rows into its database, flags of
quarantine, protection and authentication with them. Synapse may be running; what it has
already stays as it is. Run it as the user that Synapse runs as, or as root: then the
files are given to the owner of the media folder. One run at a time.

With -config alone it takes them from mmr's own database and datastores. Without, it
takes the archive in -directory, and needs nothing of mmr; with both, objects that the
archive only names by S3 URLs come from mmr's buckets. An archive doesn't say what is
for users only: -authenticated says it of all that it holds.

Without -generateThumbnails, Synapse needs `dynamic_thumbnails: true` to show thumbnails
of what was moved.

{HELP}
--homeserver-config names it as well, and the media folder.

{STATUS_HELP}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = parser().parse_args(arguments)
    if options.config:
        return run_offline(options.config, lambda server: with_server(server, options))
    return run_alone(lambda reactor: without_server(reactor, options))


def parser() -> Arguments:
    """The flags."""
    flags = Arguments("mmr-import-to-synapse", "Move out to Synapse.", _EXAMPLES)
    flags.paths("config", "take mmr's own media: its configuration")
    flags.flag("directory", f"take the archive in this folder ({_ARCHIVE})", type=Path)
    flags.switch("remote", "also media of other servers")
    flags.switch("authenticated", "what is in the archive is for users only")
    add_target_flags(flags)
    add_database_flags(flags, "synapse")
    add_running_flags(flags)
    return flags


async def with_server(server: MediaRepoServer, options: Namespace) -> int:
    """Move mmr's own media, or an archive that names objects of mmr's buckets."""
    target = SynapseTarget(options, server.reactor, server.clock, server.files)
    thumbnails, datastores = server.thumbnail_pool, server.datastores
    if options.directory is not None:
        return await _from_archive(options, target, thumbnails, datastores)
    origin = server_name_of(server, target.server_name)
    store = DepartureStore(server.db)
    source = Departing(
        store, datastores, server.content, None if options.remote else origin
    )
    async with target.opened(origin, thumbnails) as keeper:

        async def put(movable: Movable) -> Handled:
            return handled(await keeper.adopt(movable.media, movable.chunks()))

        handle = look if options.dryRun else put
        handle_small = None if options.dryRun else together_by(keeper.adopt_small)
        find_taken, workers = keeper.find_taken, options.workers
        return await move(
            handle, handle_small, find_taken, workers, source, server.reactor
        )


async def without_server(reactor: Any, options: Namespace) -> int:
    """Move what an archive holds; needs nothing of mmr. Gives the exit status."""
    clock = Clock(reactor)
    thumbnails = thumbnail_pool(clock, reactor)
    try:
        async with reading_threads(reactor, options.workers) as threads:
            target = SynapseTarget(options, reactor, clock, threads)
            return await _from_archive(options, target, thumbnails, None)
    finally:
        await thumbnails.stop()


async def _from_archive(
    options: Namespace,
    target: SynapseTarget,
    thumbnails: ThumbnailPool,
    datastores: Datastores | None,
) -> int:
    name = target.server_name
    if not name:
        raise StartupError("-serverName is missing: Synapse's server_name")
    only = "" if options.remote else name
    async with target.opened(name, thumbnails) as keeper:
        synapse = ArchivedIntoSynapse(keeper, options.authenticated)
        reception = Reception(
            home=synapse,
            keeper=synapse,
            make_judge=lambda header: Judge(header, None, target.clock, only),
            datastores=datastores,
            threads=target.files,
        )
        folder = options.directory or _ARCHIVE
        return await read_folder(folder, reception, dry_run=options.dryRun)


if __name__ == "__main__":
    sys.exit(main())
