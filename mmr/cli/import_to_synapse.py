"""``mmr-import-to-synapse``: MMR's ``import_to_synapse`` (mmr-tools.md §5)."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from mmr.cli.arguments import Arguments
from mmr.cli.homeserver_database import HELP, add_database_flags
from mmr.cli.moving import STATUS_HELP, add_running_flags, server_name_of
from mmr.cli.offline import run_offline
from mmr.cli.synapse_target import SynapseTarget, add_target_flags
from mmr.server import MediaRepoServer
from mmr.storage.departures import DepartureStore
from mmr.tasks.departing import Departing

_EXAMPLES = f"""\
  mmr-import-to-synapse -config media-repo.yaml \\
      --homeserver-config /etc/matrix-synapse/homeserver.yaml -generateThumbnails
  mmr-import-to-synapse -config media-repo.yaml -serverName example.org --remote \\
      -database sqlite:homeserver.db -mediaDirectory /var/lib/matrix-synapse/media
  mmr-import-to-synapse -directory ./gdpr-data -serverName example.org \\
      -dbHost db.internal -mediaDirectory /var/lib/matrix-synapse/media

Puts media into a Synapse: files into its media folder, rows into its database, flags of
quarantine, protection and authentication with them. With -config it takes them from
mmr's own database and datastores, else from an archive in -directory. Synapse may be
running; what it has already stays as it is. Run it as the user that Synapse runs as, or
as root: then the files are given to the owner of the media folder. One run at a time.

Without -generateThumbnails, Synapse needs `dynamic_thumbnails: true` to show thumbnails
of what was moved.

{HELP}
--homeserver-config names it as well, and the media folder.

{STATUS_HELP}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = parser().parse_args(arguments)
    return run_offline(options.config, lambda server: from_server(server, options))


def parser() -> Arguments:
    """The flags."""
    flags = Arguments("mmr-import-to-synapse", "Move out to Synapse.", _EXAMPLES)
    flags.flag(
        "config",
        "mmr's configuration, may be repeated",
        type=Path,
        action="append",
        default=[],
    )
    flags.switch("remote", "also what mmr keeps of other servers' media")
    add_target_flags(flags)
    add_database_flags(flags, "synapse")
    add_running_flags(flags)
    return flags


async def from_server(server: MediaRepoServer, options: Namespace) -> int:
    """Move mmr's own media; gives the exit status."""
    target = SynapseTarget(options, server.reactor, server.clock, server.files)
    origin = server_name_of(server, target.server_name)
    source = Departing(
        DepartureStore(server.db), server.datastores, None if options.remote else origin
    )
    return await target.receive(source, origin, server.thumbnail_pool)


if __name__ == "__main__":
    sys.exit(main())
