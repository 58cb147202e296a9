"""``mmr-gdpr-import``: MMR's ``gdpr_import`` (mmr-tools.md §2)."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from mmr.cli.archive_folder import Reception, read_folder
from mmr.cli.arguments import Arguments
from mmr.cli.offline import run_offline
from mmr.server import MediaRepoServer
from mmr.tasks.archive_checks import Verification
from mmr.tasks.archive_judge import Judge

_EXAMPLES = """\
  mmr-gdpr-import -config media-repo.yaml -directory ./gdpr-data
  mmr-gdpr-import -config media-repo.yaml -directory ./gdpr-data -verify
  mmr-gdpr-import -config media-repo.yaml -onlyEntity @alice:example.org
  mmr-gdpr-import -config media-repo.yaml --directory ./gdpr-data --dry-run

Imports the parts of an export (of mmr or matrix-media-repo, or made by one of the
…-for-import programs) with the ids, uploaders and times that the media had. The server
may go on running, and needs no MACHINE_ID for it. Whatever is in a bucket of the
configuration, and only listed with its S3 URL, is taken over where it is.

What isn't imported is one line on standard output: what is the matter, the file or
media, why. The rest goes on. Run it again to go on where it stopped: what is here
already is skipped.

exit status: 0 when all media of the archive is here, 1 when something is named, 2 for
a mistake, a missing manifest, or when the database or the disk gave up
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = parser().parse_args(arguments)
    return run_offline(options.config, lambda server: import_folder(server, options))


def parser() -> Arguments:
    """The flags."""
    flags = Arguments("mmr-gdpr-import", "Import an export.", _EXAMPLES)
    flags.paths("config", "mmr's configuration")
    flags.flag("migrations", "accepted for MMR's sake; not used", default="")
    flags.flag(
        "directory",
        "the folder with the parts (./gdpr-data)",
        type=Path,
        default=Path("gdpr-data"),
    )
    flags.switch("verify", "import nothing; compare what is here, byte for byte")
    flags.flag("onlyEntity", "only this user's or server's media", default="")
    flags.switch("dryRun", "import nothing; read all parts and say what would be")
    return flags


async def import_folder(server: MediaRepoServer, options: Namespace) -> int:
    """Do what the options say; gives the exit status."""
    reception = Reception(
        home=server.stores.media,
        keeper=server.adoptions,
        make_judge=lambda header: Judge(
            header, lambda: server.config, server.clock, options.onlyEntity
        ),
        datastores=server.datastores,
        threads=server.files,
    )
    check = Verification(server.datastores, server.files).check
    return await read_folder(
        options.directory,
        reception,
        dry_run=options.dryRun,
        check=check if options.verify else None,
    )


if __name__ == "__main__":
    sys.exit(main())
