"""What the programs that read the folder of an archive have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import attrs

from mmr.archives.catalogue import State
from mmr.archives.manifest import ManifestHeader
from mmr.cli.moving import human, one_line
from mmr.cli.offline import FOUND, OK
from mmr.cli.progress import ProgressBar
from mmr.datastores.registry import Datastores
from mmr.tasks.archive_checks import DryKeeper
from mmr.tasks.archive_import import ArchiveImport, Keeper
from mmr.tasks.archive_judge import Judge
from mmr.tasks.archive_records import ArchiveRecords, Check, Home, Problem
from mmr.tasks.folder_import import FolderImport
from mmr.util.threads import Runner


@attrs.frozen
class Reception:
    """Where the media of an archive goes.

    Attributes:
        home: Knows what is there already.
        keeper: Stores.
        make_judge: Says what is believed of the records.
        datastores: Those that URLs of the manifest may mean.
        threads: For everything that blocks.
    """

    home: Home
    keeper: Keeper
    make_judge: Callable[[ManifestHeader], Judge]
    datastores: Datastores | None
    threads: Runner


async def read_folder(
    folder: Path,
    reception: Reception,
    *,
    dry_run: bool = False,
    check: Check | None = None,
) -> int:
    """Have a folder's parts imported, under a progress bar. Gives the exit status.

    Args:
        dry_run: Store nothing; read all parts and say what would be.
        check: Store nothing; only compare what is there already, by this.

    Raises:
        StartupError: there is no manifest, or the home doesn't work.
        MatrixError: our database or datastore doesn't.
    """
    bar = ProgressBar("media", 0)

    def tell(problem: Problem) -> None:
        bar.clear()
        words = (problem.word, problem.what, problem.detail)
        print("\t".join(map(one_line, words)), flush=True)

    threads = reception.threads
    records = ArchiveRecords(
        media=reception.home,
        threads=threads,
        make_judge=reception.make_judge,
        tell=tell,
        advance=lambda count: bar.add(count),
        check=check,
    )
    keeper: Keeper = DryKeeper(threads) if dry_run else reception.keeper
    importer = ArchiveImport(records, keeper, reception.datastores, threads)
    parts = FolderImport(folder, records, importer, threads)
    try:
        await parts.find_manifest()
        bar = ProgressBar("media", await records.count())
        try:
            await records.sort_out()
            if check is None:
                await parts.read_parts()
            await records.tell_missing()
        finally:
            bar.finish()
            _summarise(records, dry_run)
        return await _status(records)
    finally:
        await importer.rest()
        await records.close()


def _summarise(records: ArchiveRecords, dry_run: bool) -> None:
    for word, count in sorted(records.tally.items()):
        would = "would be " if dry_run and word == "stored" else ""
        print(f"{would}{word}: {count}", file=sys.stderr)
    if records.size_bytes:
        print(f"together: {human(records.size_bytes)}", file=sys.stderr)


async def _status(records: ArchiveRecords) -> int:
    """What was damaged in one part may have been whole in another."""
    rest = records.tally.total() - records.tally["stored"] - records.tally["known"]
    rest -= records.tally["damaged"]
    rest += await records.count(State.DAMAGED)
    return FOUND if rest else OK
