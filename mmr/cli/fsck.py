"""``mmr-fsck``: do the database and the datastores agree, and if not, what then?"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence

import attrs

from mmr.cli.arguments import Arguments
from mmr.cli.offline import FOUND, MISTAKE, OK, run_offline
from mmr.cli.progress import ProgressBar
from mmr.datastores.base import Datastore
from mmr.errors import MatrixError
from mmr.server import MediaRepoServer
from mmr.storage.consistency import ConsistencyStore
from mmr.storage.datastore_totals import DatastoreTotal
from mmr.storage.objects import ObjectName
from mmr.tasks.consistency import Consistency, Fault, Finding
from mmr.types import Mxc

_EXAMPLES = """\
  mmr-fsck                               look, and change nothing
  mmr-fsck -datastoreId main -verify     read every object and compare its hash
  mmr-fsck -refetch                      fetch lost media of other servers again
  mmr-fsck -deleteUnreferenced           delete objects that no row names

Each finding is one line on standard output: fault, datastore, location, size, and the
media it belongs to. Run it without -refetch and -deleteUnreferenced first. What other
programs keep in the same folder or bucket is unreferenced too, and would be deleted.

exit status: 0 when all is well or was mended, 1 when something is left, 2 for a mistake
on the command line or in the configuration, or when a store is away
"""
_WAIT_MS = 60_000


@attrs.define
class _Summary:
    """What was found, and what became of it."""

    found: Counter[str]
    left: int = 0
    lost: list[Mxc] = attrs.field(factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = parser().parse_args(arguments)
    return run_offline(options.config, lambda server: check(server, options))


def parser() -> Arguments:
    """The flags."""
    flags = Arguments(
        "mmr-fsck", "Compare the database with the datastores.", _EXAMPLES
    )
    flags.paths("config", "configuration")
    flags.flag("datastoreId", "look at this datastore only", default="")
    flags.switch("verify", "read every object and compare its hash")
    flags.switch("refetch", "fetch lost media of other servers again")
    flags.switch("deleteUnreferenced", "delete objects that no row names")
    flags.switch("dryRun", "change nothing, whatever the other flags say")
    return flags


async def check(server: MediaRepoServer, options: Namespace) -> int:
    """Look at everything that the options name; gives the exit status."""
    wanted = options.datastoreId
    stores = [store for store in server.datastores if wanted in ("", store.id)]
    if not stores:
        print(f"there is no datastore {wanted!r}", file=sys.stderr)
        return MISTAKE
    if options.dryRun:
        options.refetch = options.deleteUnreferenced = False
    summary = _Summary(Counter())
    for store in stores:
        await _check_store(server, store, options, summary)
    if options.deleteUnreferenced:
        await server.sweep.delete_queued()
    _tell(summary)
    return FOUND if summary.left else OK


async def _check_store(
    server: MediaRepoServer, store: Datastore, options: Namespace, summary: _Summary
) -> None:
    rows = ConsistencyStore(server.db)
    totals = await server.stores.datastores.get_totals()
    about = totals.get(store.id, DatastoreTotal(0, 0)).objects
    bar = ProgressBar(f"{store.id}: rows", about)
    check = Consistency(rows, store, server.files, lambda count: bar.add(count))
    async for finding in check.broken(verify=options.verify):
        bar.clear()
        mended = options.refetch and await _mend(server, rows, store, finding)
        _note(finding, summary, "mended" if mended else "", server)
    bar.finish()
    bar = ProgressBar(f"{store.id}: objects", about)
    async for finding in check.unreferenced():
        bar.clear()
        deleted = options.deleteUnreferenced and await rows.delete_unnamed(finding.name)
        _note(finding, summary, "deleted" if deleted else "", server)
    bar.finish()


async def _mend(
    server: MediaRepoServer, rows: ConsistencyStore, store: Datastore, finding: Finding
) -> bool:
    """Get lost bytes back: thumbnails by drawing, remote media from its origin."""
    if finding.is_quarantined or finding.fault is Fault.UNREADABLE:
        return False
    if finding.table == "thumbnails" and not finding.media:
        return bool(await rows.forget_thumbnails(finding.name))
    ours = server.config.domains
    if not finding.media or any(mxc.origin in ours for mxc in finding.media):
        return False
    if finding.fault is Fault.WRONG_HASH:
        # Of the right size, it would pass for the real thing.
        await store.delete(finding.name.location)
    fetched = [await _fetch(server, mxc, finding.name) for mxc in finding.media]
    return all(fetched)


async def _fetch(server: MediaRepoServer, mxc: Mxc, lost: ObjectName) -> bool:
    """Fetch one media again. False when its row still names the lost object."""
    domain = next(iter(server.config.domains.values()))
    try:
        transfer = await server.remote_media.fetch(domain, mxc, _WAIT_MS)
        record = await transfer.finished()
    except MatrixError as error:
        print(f"{mxc}: not fetched: {error}", file=sys.stderr)
        return False
    return record.object_name != lost


def _note(
    finding: Finding, summary: _Summary, done: str, server: MediaRepoServer
) -> None:
    """One line on standard output."""
    # A quarantined object is purged on purpose: its row stays to block the hash.
    is_meant = finding.fault is Fault.MISSING and finding.is_quarantined
    word = "purged" if is_meant else finding.fault.value
    summary.found[word] += 1
    if not (done or is_meant):
        summary.left += 1
        if finding.fault is not Fault.UNREFERENCED:
            ours = server.config.domains
            summary.lost += [mxc for mxc in finding.media if mxc.origin in ours]
    name = finding.name
    parts = [word, name.datastore_id, name.location, str(finding.size_bytes)]
    parts += [finding.table, " ".join(map(str, finding.media)), done]
    print("\t".join(parts), flush=True)


def _tell(summary: _Summary) -> None:
    for word, count in sorted(summary.found.items()):
        print(f"{word}: {count}", file=sys.stderr)
    if not summary.found:
        print("rows and objects agree", file=sys.stderr)
    if summary.lost:
        print("media of our own users without its bytes:", file=sys.stderr)
        for mxc in summary.lost:
            print(f"  {mxc}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
