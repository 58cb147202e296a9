"""``mmr-adopt-synapse``: serve a Synapse's media from where it is, at once."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence

import attrs

from mmr.cli.arguments import Arguments
from mmr.cli.homeserver_database import HELP, add_database_flags, open_database
from mmr.cli.moving import one_line, server_name_of
from mmr.cli.offline import FOUND, OK, run_offline
from mmr.cli.progress import ProgressBar
from mmr.datastores.synapse import SynapseDatastore
from mmr.errors import StartupError
from mmr.interop.synapse_config import read_synapse_config
from mmr.interop.synapse_database import SynapseDatabase, SynapseMedia
from mmr.server import MediaRepoServer
from mmr.tasks import transfer
from mmr.tasks.in_place import InPlaceResult

_EXAMPLES = f"""\
  mmr-adopt-synapse -config mmr.yaml --homeserver-config homeserver.yaml
  mmr-adopt-synapse -config mmr.yaml -serverName example.org -dbHost db.internal
  mmr-adopt-synapse -config mmr.yaml --homeserver-config homeserver.yaml \\
      --transfer-to main

mmr.yaml must have a datastore of type `synapse`. Nothing is copied, and nothing of
Synapse's is changed: each row of its tables gets a record that points at Synapse's
file. It runs beside mmr and beside Synapse, and again for what has come since.
--transfer-to has mmr's background task copy everything afterwards.

{HELP}
--homeserver-config names it as well.

Each media that can't be served is one line on standard output.

exit status: 0 when all rows that stand for media have records, 1 when some media is
named, 2 for a mistake or when a database gave up
"""
# Rows a transaction: it holds SQLite's only write lock for some 20 ms.
_BATCH = 250
_ANY_TIME_MS = 1 << 53


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = _parser().parse_args(arguments)
    return run_offline(options.config, lambda server: _adopt(server, options))


def _parser() -> Arguments:
    parser = Arguments(
        "mmr-adopt-synapse",
        "Take over a Synapse's media in place, without copying it.",
        _EXAMPLES,
    )
    parser.paths("config", "mmr's configuration")
    parser.paths("homeserverConfig", "Synapse's homeserver.yaml")
    parser.flag("serverName", "the homeserver's name, as in user ids", default="")
    add_database_flags(parser, "synapse")
    parser.flag("datastoreId", "the datastore, if several are of type synapse")
    parser.switch("localOnly", "leave out what Synapse keeps of other servers' media")
    parser.flag("transferTo", "have everything copied to this datastore", default="")
    parser.switch("dryRun", "register nothing; say what would be")
    return parser


async def _adopt(server: MediaRepoServer, options: Namespace) -> int:
    store = _find_store(server, options.datastoreId)
    if options.transferTo:
        _check_target(server, options.transferTo)
    database = await server.files.run(_open, server, options)
    try:
        result = InPlaceResult()
        faults = await _register_all(server, database, store.id, options, result)
    finally:
        database.close()
    _tell(result, options.dryRun)
    if options.transferTo and not options.dryRun:
        await _submit(server, store.id, options.transferTo)
    return FOUND if faults else OK


def _open(server: MediaRepoServer, options: Namespace) -> SynapseDatabase:
    config = None
    if options.homeserverConfig:
        config = read_synapse_config(options.homeserverConfig)
    given = options.serverName or (config.server_name if config else "")
    server_name = server_name_of(server, given)
    if config is not None and options.database is None:
        return SynapseDatabase(config.open_database(), server_name)
    return SynapseDatabase(open_database(options), server_name)


def _find_store(server: MediaRepoServer, wanted: str | None) -> SynapseDatastore:
    found = [
        store
        for store in server.datastores
        if isinstance(store, SynapseDatastore) and wanted in (None, store.id)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise StartupError(
            "There is no such datastore of type `synapse`. Add one to `datastores`:"
            " `{type: synapse, id: synapse, opts: {path: …}}`."
        )
    names = ", ".join(store.id for store in found)
    raise StartupError(f"-datastoreId is needed: one of {names}")


def _check_target(server: MediaRepoServer, wanted: str) -> None:
    target = server.datastores.find(wanted)
    if target is None or target.is_foreign:
        raise StartupError(f"-transferTo: nothing can be copied to {wanted!r}")


async def _register_all(
    server: MediaRepoServer,
    database: SynapseDatabase,
    datastore_id: str,
    options: Namespace,
    result: InPlaceResult,
) -> int:
    """Gives the number of media that can't be served."""
    total = await server.files.run(database.count_local)
    if not options.localOnly:
        total += await server.files.run(database.count_remote)
    bar = ProgressBar("rows", total)
    faults = 0
    batches = _batches(database, options.localOnly)
    while rows := await server.files.run(next, batches, None):
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            await server.in_place.register(
                part, datastore_id, result, dry_run=options.dryRun
            )
            bar.clear()
            for mxc, why in result.faults:
                print(f"failed\t{one_line(str(mxc))}\t{one_line(why)}", flush=True)
            faults += len(result.faults)
            bar.add(len(part))
    bar.finish()
    return faults


def _batches(
    database: SynapseDatabase, local_only: bool
) -> Iterator[list[SynapseMedia]]:
    yield from database.local_batches()
    if not local_only:
        yield from database.remote_batches()


def _tell(result: InPlaceResult, dry_run: bool) -> None:
    word = "would be registered" if dry_run else "registered"
    for what, count in {word: result.new, "known": result.known}.items():
        print(f"{what}: {count}", file=sys.stderr)
    for what, count in sorted(result.skipped.items()):
        print(f"{what}: {count}", file=sys.stderr)


async def _submit(server: MediaRepoServer, source: str, target: str) -> None:
    params = transfer.TransferParams(source, target, before_ts=_ANY_TIME_MS)
    task = await server.task_engine.submit(transfer.NAME, attrs.asdict(params))
    print(f"task {task.id} copies it to {target} while mmr runs", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
