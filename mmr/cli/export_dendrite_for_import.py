"""``mmr-export-dendrite-for-import``: MMR's tool of that name (mmr-tools.md §4)."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial

from mmr.cli.arguments import Arguments
from mmr.cli.homeserver_database import HELP, add_database_flags, open_database
from mmr.cli.offline_export import STATUS_HELP, add_flags, export, media_directory, run
from mmr.interop.dendrite_database import DendriteDatabase, dendrite_folder
from mmr.tasks.offline_export import dendrite_rows

_EXAMPLES = f"""\
  mmr-export-dendrite-for-import -serverName example.org -dbHost db.internal \\
      -mediaDirectory /var/lib/dendrite/media_store -destination ./dendrite-export
  mmr-export-dendrite-for-import -serverName example.org -skipMissing --dry-run \\
      --database sqlite:mediaapi.db

Makes an archive of the local media of a Dendrite from its database and its files. No
configuration of mmr is needed, and Dendrite is neither asked nor changed.

{HELP} It is the database of the media API, if the parts of Dendrite have one each.

{STATUS_HELP}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = _parser().parse_args(arguments)
    return run(lambda: _export(options))


def _parser() -> Arguments:
    parser = Arguments(
        "mmr-export-dendrite-for-import",
        "Make an archive of Dendrite's media.",
        _EXAMPLES,
    )
    add_database_flags(parser, "dendrite")
    add_flags(parser, "Dendrite's media_api.base_path")
    return parser


def _export(options: Namespace) -> int:
    server_name = options.serverName
    folder = dendrite_folder(media_directory(options))
    database = DendriteDatabase(open_database(options), server_name)
    try:
        rows = partial(dendrite_rows, database, server_name)
        total = database.count(with_remote=False)
        return export(options, server_name, folder, rows, total)
    finally:
        database.close()


if __name__ == "__main__":
    sys.exit(main())
