"""``mmr-gdpr-import``: MMR's ``gdpr_import`` (mmr-tools.md §2)."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from mmr.archives.catalogue import State
from mmr.cli.arguments import Arguments
from mmr.cli.moving import human, one_line
from mmr.cli.offline import FOUND, OK, run_offline
from mmr.cli.progress import ProgressBar
from mmr.server import MediaRepoServer
from mmr.tasks.archive_checks import DryKeeper, Verification
from mmr.tasks.archive_import import ArchiveImport, Keeper
from mmr.tasks.archive_judge import Judge
from mmr.tasks.archive_records import ArchiveRecords, Problem
from mmr.tasks.folder_import import FolderImport

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
    flags.flag(
        "config",
        "mmr's configuration, may be repeated",
        type=Path,
        action="append",
        default=[],
    )
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
    bar = ProgressBar("media", 0)

    def tell(problem: Problem) -> None:
        bar.clear()
        words = (problem.word, problem.what, problem.detail)
        print("\t".join(map(one_line, words)), flush=True)

    check = Verification(server.datastores, server.files).check
    records = ArchiveRecords(
        media=server.stores.media,
        threads=server.files,
        make_judge=lambda header: Judge(
            header, lambda: server.config, server.clock, options.onlyEntity
        ),
        tell=tell,
        advance=lambda count: bar.add(count),
        check=check if options.verify else None,
    )
    keeper: Keeper = DryKeeper(server.files) if options.dryRun else server.adoptions
    importer = ArchiveImport(records, keeper, server.datastores, server.files)
    folder = FolderImport(options.directory, records, importer, server.files)
    try:
        await folder.find_manifest()
        bar = ProgressBar("media", await records.count())
        try:
            await records.sort_out()
            if not options.verify:
                await folder.read_parts()
            await records.tell_missing()
        finally:
            bar.finish()
            _summarise(records, options)
        return await _status(records)
    finally:
        await records.close()


def _summarise(records: ArchiveRecords, options: Namespace) -> None:
    for word, count in sorted(records.tally.items()):
        would = "would be " if options.dryRun and word == "stored" else ""
        print(f"{would}{word}: {count}", file=sys.stderr)
    if records.size_bytes:
        print(f"together: {human(records.size_bytes)}", file=sys.stderr)


async def _status(records: ArchiveRecords) -> int:
    """What was damaged in one part may have been whole in another."""
    rest = records.tally.total() - records.tally["stored"] - records.tally["known"]
    rest -= records.tally["damaged"]
    rest += await records.count(State.DAMAGED)
    return FOUND if rest else OK


if __name__ == "__main__":
    sys.exit(main())
