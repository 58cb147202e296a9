"""``mmr-s3-consistency-check``: MMR's ``s3_consistency_check`` (mmr-tools.md §7)."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TextIO

from mmr.cli.arguments import Arguments
from mmr.cli.moving import human
from mmr.cli.offline import FOUND, MISTAKE, OK, run_offline
from mmr.cli.progress import ProgressBar
from mmr.datastores.s3 import S3Datastore
from mmr.server import MediaRepoServer
from mmr.storage.consistency import ConsistencyStore
from mmr.storage.datastore_totals import DatastoreTotal
from mmr.tasks.consistency import Consistency

_OUT_FILE = "./s3-probably-safe-to-delete.txt"
_EXAMPLES = """\
  mmr-s3-consistency-check -datastoreId s3 -outFile safe-to-delete.txt

Deletes nothing. Uploads of a matrix-media-repo that still runs may be in the list: run
it again after half an hour and keep what is in both. `mmr-fsck` also looks the other
way, from rows to objects.

exit status: 0 when every object is named, 1 when some are not, 2 for a mistake or when
the bucket can't be listed
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = _parser().parse_args(arguments)
    return run_offline(options.config, lambda server: _check(server, options))


def _parser() -> Arguments:
    parser = Arguments(
        "mmr-s3-consistency-check",
        "List the objects of a bucket that the database doesn't name.",
        _EXAMPLES,
    )
    parser.paths("config", "configuration")
    parser.flag("migrations", "accepted for MMR's sake; not used", default="")
    parser.flag("datastoreId", "the S3 datastore", required=True)
    parser.flag("outFile", f"where the keys go ({_OUT_FILE})", default=_OUT_FILE)
    parser.switch("dryRun", "only count them; write no file")
    return parser


async def _check(server: MediaRepoServer, options: Namespace) -> int:
    store = server.datastores.find(options.datastoreId)
    if not isinstance(store, S3Datastore):
        print(f"{options.datastoreId!r} is not an S3 datastore", file=sys.stderr)
        return MISTAKE
    out_file = os.devnull if options.dryRun else options.outFile
    try:
        with open(out_file, "w") as out:  # noqa: ASYNC230 - nothing else runs here
            count, size = await _list(server, store, out)
    except OSError as error:
        print(f"{out_file} can't be written: {error.strerror}", file=sys.stderr)
        return MISTAKE
    print(f"{count} objects, {size} bytes ({human(size)}), are named by no row")
    if count and not options.dryRun:
        print(
            "Uploads under way may be among them: check again in 30 minutes and "
            f"compare. The keys are in {out_file}."
        )
    return FOUND if count else OK


async def _list(
    server: MediaRepoServer, store: S3Datastore, out: TextIO
) -> tuple[int, int]:
    """Write the keys that no row names; gives their number and bytes."""
    totals = await server.stores.datastores.get_totals()
    about = totals.get(store.id, DatastoreTotal(0, 0)).objects
    bar = ProgressBar("objects", about)
    check = Consistency(ConsistencyStore(server.db), store, server.files, bar.add)
    count = size = 0
    async for finding in check.unreferenced():
        print(finding.name.location, file=out)
        count += 1
        size += finding.size_bytes
    bar.finish()
    return count, size


if __name__ == "__main__":
    sys.exit(main())
