"""``mmr-gdpr-export``: MMR's ``gdpr_export`` (mmr-tools.md §1)."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from mmr.archives.folder import FolderArchive, FolderInUse
from mmr.cli.arguments import Arguments
from mmr.cli.moving import human, one_line
from mmr.cli.offline import FOUND, MISTAKE, OK, run_offline
from mmr.cli.progress import ProgressBar
from mmr.server import MediaRepoServer
from mmr.tasks.export_data import section_of
from mmr.tasks.export_entries import describer
from mmr.tasks.export_parts import FolderParts
from mmr.tasks.export_plan import Checkpoint, ExportPlan
from mmr.tasks.export_walk import Exporter
from mmr.types import is_valid_server_name, server_of_user

_DESTINATION = "./gdpr-data"
_EXAMPLES = """\
  mmr-gdpr-export -config media-repo.yaml -entity @alice:example.org
  mmr-gdpr-export -config media-repo.yaml -entity example.org -destination ./all
  mmr-gdpr-export -config media-repo.yaml -entity example.org --dry-run

Writes all media of a user, or all that there is of a server, into a folder: parts of
`archiving.targetBytesPerPart`, and a manifest with S3 URLs. mmr-gdpr-import and
matrix-media-repo's gdpr_import read it. The server may go on running.

What isn't exported as it should be is one line on standard output: the word
`quarantined` or `failed` (left out) or `damaged` (its hash is wrong), its address, why.
The rest goes on. A run that was broken off is gone on with when the command is given
again; -restart begins anew. Parts of a finished export in the folder are replaced.

exit status: 0 when all is well, 1 when files failed or are damaged, 2 for a mistake or
when the run ended early
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = parser().parse_args(arguments)
    return run_offline(options.config, lambda server: _export(server, options))


def parser() -> Arguments:
    """The flags."""
    flags = Arguments(
        "mmr-gdpr-export", "Export the media of a user or a server.", _EXAMPLES
    )
    flags.paths("config", "mmr's configuration")
    flags.flag("migrations", "accepted for MMR's sake; not used", default="")
    flags.flag("templates", "accepted for MMR's sake; not used", default="")
    flags.flag("entity", "a user id or a server name", type=_entity, required=True)
    flags.flag(
        "destination",
        f"the folder for the parts ({_DESTINATION})",
        type=Path,
        default=Path(_DESTINATION),
    )
    flags.switch("restart", "forget what an earlier run has done so far")
    flags.switch("dryRun", "write nothing; say how much there is")
    return flags


def _entity(text: str) -> str:
    if server_of_user(text) or is_valid_server_name(text):
        return text
    raise ArgumentTypeError(f"{text!r} is neither a user id nor a server name")


async def _export(server: MediaRepoServer, options: Namespace) -> int:
    """Do what the options say; gives the exit status."""
    now_ms = server.clock.time_ms()
    if options.dryRun:
        return await _look(server, options.entity, now_ms)
    folder: Path = options.destination
    try:
        archive = await server.files.run(
            FolderArchive, folder, options.entity, now_ms, restart=options.restart
        )
        return await _fill(server, archive, folder)
    except FolderInUse as error:
        print(f"{error}. -restart begins anew", file=sys.stderr)
    except OSError as error:
        where = error.filename or folder
        print(f"{where}: {error.strerror or error}", file=sys.stderr)
    return MISTAKE


async def _look(server: MediaRepoServer, entity: str, now_ms: int) -> int:
    count, size_bytes = await server.stores.export_entries.count_media(entity, now_ms)
    target = section_of(server.config, entity).archiving.target_bytes_per_part
    parts = max(1, -(-size_bytes // target))
    print(
        f"would be exported: {count} files, together {human(size_bytes)}, in about "
        f"{parts} parts (quarantined media is left out)",
        file=sys.stderr,
    )
    return OK


async def _fill(server: MediaRepoServer, archive: FolderArchive, folder: Path) -> int:
    state = archive.state
    begin = Checkpoint.from_dict(state.place) if state.place else Checkpoint()
    if archive.is_continued:
        print("going on with an unfinished export", file=sys.stderr)
    rows = server.stores.export_entries
    total, _ = await rows.count_media(state.entity_id, state.created_ts)
    bar = ProgressBar("media", total)
    shown = 0

    async def progress(now: Checkpoint) -> None:
        nonlocal shown
        bar.add(now.looked_at - shown)
        shown = now.looked_at

    def tell(*words: str) -> None:
        bar.clear()
        print("\t".join(map(one_line, words)), flush=True)

    section = section_of(server.config, state.entity_id)
    describe = describer(server.datastores, with_s3_urls=True)
    exporter = Exporter(
        ExportPlan(
            entity=state.entity_id,
            created_ts=state.created_ts,
            target_bytes=section.archiving.target_bytes_per_part,
            parts=state.parts,
            begin=begin,
        ),
        FolderParts(archive, server.files),
        rows=rows,
        content=server.content,
        describe=describe,
        files=server.files,
        progress=progress,
        tell=tell,
    )
    now = await exporter.run()
    await progress(now)
    bar.finish()
    _summarise(now, state.entity_id, folder)
    return FOUND if now.complaint else OK


def _summarise(now: Checkpoint, entity: str, folder: Path) -> None:
    counts = (
        ("exported", now.done),
        ("quarantined", now.skipped),
        ("failed", now.failed),
        ("damaged", now.damaged),
    )
    for word, count in counts:
        if count or word == "exported":
            print(f"{word}: {count}", file=sys.stderr)
    size = human(now.bytes_done)
    print(f"together: {size}; the export of {entity} is in {folder}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
