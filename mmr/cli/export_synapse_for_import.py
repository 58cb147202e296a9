"""``mmr-export-synapse-for-import``: MMR's tool of that name (mmr-tools.md §4)."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial

from mmr.cli.arguments import Arguments
from mmr.cli.homeserver_database import HELP, add_database_flags, open_database
from mmr.cli.offline_export import STATUS_HELP, add_flags, export, media_directory, run
from mmr.interop.foreign_database import ForeignDatabase
from mmr.interop.media_folder import MediaFolder
from mmr.interop.synapse_config import read_synapse_config
from mmr.interop.synapse_database import SynapseDatabase
from mmr.tasks.offline_export import synapse_rows

_EXAMPLES = f"""\
  mmr-export-synapse-for-import --homeserver-config homeserver.yaml -skipMissing
  mmr-export-synapse-for-import -serverName example.org -dbHost db.internal \\
      -mediaDirectory /var/lib/matrix-synapse/media -destination ./synapse-export
  mmr-export-synapse-for-import -serverName example.org --dry-run \\
      --database sqlite:homeserver.db

Makes an archive of the local media of a Synapse from its database and its files. No
configuration of mmr is needed, and Synapse is neither asked nor changed. Previews,
unfinished uploads and quarantined media are left out; mmr-import-synapse keeps
quarantine, and media of other servers.

{HELP}
--homeserver-config names it as well, with server name and folders.

{STATUS_HELP}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = _parser().parse_args(arguments)
    return run(lambda: _export(options))


def _parser() -> Arguments:
    parser = Arguments(
        "mmr-export-synapse-for-import",
        "Make an archive of Synapse's media.",
        _EXAMPLES,
    )
    add_database_flags(parser, "synapse")
    add_flags(parser, "Synapse's media_store_path")
    parser.paths("homeserverConfig", "Synapse's homeserver.yaml")
    return parser


def _export(options: Namespace) -> int:
    server_name, folders = options.serverName, [media_directory(options)]
    connect: Callable[[], ForeignDatabase] = partial(open_database, options)
    if options.homeserverConfig:
        config = read_synapse_config(options.homeserverConfig)
        server_name = config.server_name
        folders = list(config.folders)
        if options.mediaDirectory is not None:
            folders[0] = options.mediaDirectory
        if options.database is None:
            connect = config.open_database
    folder = MediaFolder(folders)
    database = SynapseDatabase(connect(), server_name)
    try:
        rows = partial(synapse_rows, database)
        return export(options, server_name, folder, rows, database.count_local())
    finally:
        database.close()


if __name__ == "__main__":
    sys.exit(main())
