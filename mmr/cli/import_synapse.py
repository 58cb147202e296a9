"""``mmr-import-synapse``: MMR's ``import_synapse`` (mmr-tools.md §3)."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from mmr.cli.arguments import Arguments
from mmr.cli.homeserver_database import HELP, add_database_flags, open_database
from mmr.cli.moving import (
    STATUS_HELP,
    TOKEN_VARIABLE,
    add_moving_flags,
    downloads_of,
    move_in,
    reading_threads,
    server_name_of,
)
from mmr.cli.offline import run_offline
from mmr.interop.media_folder import MediaFolder
from mmr.interop.stored_bytes import StoredBytes
from mmr.interop.synapse_config import SynapseConfig, read_synapse_config
from mmr.interop.synapse_database import SynapseDatabase
from mmr.server import MediaRepoServer
from mmr.tasks.synapse_import import SynapseImport

_DEFAULT_URL = "http://localhost:8008"
_EXAMPLES = f"""\
  mmr-import-synapse -config media-repo.yaml \\
      --homeserver-config /etc/matrix-synapse/homeserver.yaml --remote
  mmr-import-synapse -config media-repo.yaml -serverName example.org \\
      -dbHost db.internal -baseUrl http://localhost:8008
  mmr-import-synapse -config media-repo.yaml --database sqlite:homeserver.db \\
      --media-directory /var/lib/matrix-synapse/media --dry-run

Copies the media of a Synapse, which may go on running. The files come from its media
folder where that is at hand (--media-directory, or media_store_path and the file_system
providers of --homeserver-config); what isn't there, and everything without a folder, is
downloaded from -baseUrl. Downloading needs the access token of a user, in
{TOKEN_VARIABLE} or -accessToken, and of an admin for quarantined media.

{HELP}
--homeserver-config names it as well.

{STATUS_HELP}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = parser().parse_args(arguments)
    return run_offline(options.config, lambda server: import_media(server, options))


def parser() -> Arguments:
    """The flags."""
    flags = Arguments("mmr-import-synapse", "Move in from Synapse.", _EXAMPLES)
    add_moving_flags(flags)
    add_database_flags(flags, "synapse")
    flags.paths("homeserverConfig", "Synapse's homeserver.yaml")
    flags.flag("mediaDirectory", "Synapse's media_store_path", type=Path)
    flags.switch("remote", "also what Synapse keeps of other servers' media")
    return flags


async def import_media(server: MediaRepoServer, options: Namespace) -> int:
    """Do what the options say; gives the exit status."""
    config = None
    if options.homeserverConfig:
        config = read_synapse_config(options.homeserverConfig)
    given = options.serverName or (config.server_name if config else "")
    server_name = server_name_of(server, given)
    source = _source(options, config)
    if config is not None and options.database is None:
        connection = config.open_database()
    else:
        connection = open_database(options)
    database = SynapseDatabase(connection, server_name)
    try:
        async with reading_threads(server.reactor, options.workers) as threads:
            media = SynapseImport(
                database, source, with_remote=options.remote, threads=threads
            )
            return await move_in(server, options, media)
    finally:
        database.close()


def _source(options: Namespace, config: SynapseConfig | None) -> StoredBytes:
    folders = list(config.folders) if config else []
    if options.mediaDirectory is not None:
        folders[:1] = [options.mediaDirectory]
    downloads = None
    if options.baseUrl or not folders:
        downloads = downloads_of(options, _DEFAULT_URL)
    return StoredBytes(MediaFolder(folders) if folders else None, downloads)


if __name__ == "__main__":
    sys.exit(main())
