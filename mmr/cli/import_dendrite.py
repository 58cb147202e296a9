"""``mmr-import-dendrite``: MMR's ``import_dendrite`` (mmr-tools.md §3)."""

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
from mmr.interop.dendrite_database import DendriteDatabase, dendrite_folder
from mmr.interop.stored_bytes import StoredBytes
from mmr.server import MediaRepoServer
from mmr.tasks.dendrite_import import DendriteImport

_DEFAULT_URL = "http://localhost:8008"
_EXAMPLES = f"""\
  mmr-import-dendrite -config media-repo.yaml -serverName example.org \\
      -dbHost db.internal -baseUrl http://localhost:8008
  mmr-import-dendrite -config media-repo.yaml -serverName example.org \\
      --database sqlite:mediaapi.db --media-directory ./media_store --dry-run

Copies the media of a Dendrite, which may go on running. The files come from
--media-directory (media_api.base_path) where that is at hand; what isn't there, and
everything without a folder, is downloaded from -baseUrl. Downloading needs the access
token of a user, in {TOKEN_VARIABLE} or -accessToken.

{HELP} It is the database of the media API, if the parts of Dendrite have one each.

{STATUS_HELP}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = parser().parse_args(arguments)
    return run_offline(options.config, lambda server: import_media(server, options))


def parser() -> Arguments:
    """The flags."""
    flags = Arguments("mmr-import-dendrite", "Move in from Dendrite.", _EXAMPLES)
    add_moving_flags(flags)
    add_database_flags(flags, "dendrite")
    flags.flag("mediaDirectory", "Dendrite's media_api.base_path", type=Path)
    flags.switch("remote", "also what Dendrite keeps of other servers' media")
    return flags


async def import_media(server: MediaRepoServer, options: Namespace) -> int:
    """Do what the options say; gives the exit status."""
    server_name = server_name_of(server, options.serverName)
    source = _source(options)
    database = DendriteDatabase(open_database(options), server_name)
    try:
        async with reading_threads(server.reactor, options.workers) as threads:
            media = DendriteImport(
                database, source, with_remote=options.remote, threads=threads
            )
            return await move_in(server, options, media)
    finally:
        database.close()


def _source(options: Namespace) -> StoredBytes:
    folder = downloads = None
    if options.mediaDirectory is not None:
        folder = dendrite_folder(options.mediaDirectory)
    if options.baseUrl or folder is None:
        downloads = downloads_of(options, _DEFAULT_URL)
    return StoredBytes(folder, downloads)


if __name__ == "__main__":
    sys.exit(main())
