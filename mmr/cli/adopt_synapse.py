"""``mmr-adopt-synapse``: serve a Synapse's media from where it is, at once."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from mmr.cli.arguments import Arguments
from mmr.cli.homeserver_database import HELP, add_database_flags, open_database
from mmr.cli.offline import FOUND, MISTAKE, OK, run_offline
from mmr.cli.progress import ProgressBar
from mmr.datastores.synapse import SynapseDatastore
from mmr.errors import StartupError
from mmr.interop.foreign_database import ForeignDatabase
from mmr.interop.synapse_config import read_synapse_config
from mmr.interop.synapse_database import SynapseDatabase, SynapseMedia
from mmr.media.in_place import InPlaceResult, Skip
from mmr.server import MediaRepoServer
from mmr.tasks import transfer

_EXAMPLES = f"""\
  mmr-adopt-synapse -config mmr.yaml -synapseConfig /etc/matrix-synapse/homeserver.yaml
  mmr-adopt-synapse -config mmr.yaml -serverName example.org -dbHost db.internal
  mmr-adopt-synapse -config mmr.yaml -synapseConfig homeserver.yaml -transferTo main

{HELP} -synapseConfig names Synapse's own.

mmr.yaml must have a datastore of type `synapse`. Nothing is copied, and nothing of
Synapse's is changed: each row of its tables gets a record that points at Synapse's
file. It runs beside mmr and beside Synapse, and again for what has come since.
-transferTo has mmr's background task copy everything afterwards.

exit status: 0 when all rows that stand for media have records, 1 when some can't have
one (they are named), 2 for a mistake
"""
# Rows a transaction: it holds SQLite's only write lock for some 20 ms.
_BATCH = 250
_ANY_TIME_MS = 1 << 53


@attrs.frozen
class _Source:
    """A Synapse, as the flags name it."""

    server_name: str
    database: ForeignDatabase


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        source = _source(options)
    except StartupError as error:
        print(error, file=sys.stderr)
        return MISTAKE
    try:
        return run_offline(
            options.config, lambda server: _adopt(server, source, options)
        )
    finally:
        source.database.close()


def _parser() -> Arguments:
    parser = Arguments(
        "mmr-adopt-synapse",
        "Take over a Synapse's media in place, without copying it.",
        _EXAMPLES,
    )
    parser.flag(
        "config",
        "mmr's configuration, may be repeated",
        type=Path,
        action="append",
        default=[],
    )
    parser.flag(
        "synapseConfig",
        "homeserver.yaml, may be repeated: in place of -serverName and -db...",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
    )
    parser.flag("serverName", "the name of the homeserver", default="")
    add_database_flags(parser, "synapse")
    parser.flag("datastoreId", "the datastore, if several are of type synapse")
    parser.switch("localOnly", "leave out media of other servers")
    parser.flag("transferTo", "have everything copied to this datastore", default="")
    parser.switch("dry-run", "only count")
    return parser


def _source(options: Namespace) -> _Source:
    if options.synapseConfig:
        config = read_synapse_config(options.synapseConfig)
        name = options.serverName or config.server_name
        return _Source(name, config.open_database())
    if not options.serverName:
        raise StartupError("-serverName or -synapseConfig is needed")
    return _Source(options.serverName, open_database(options))


async def _adopt(server: MediaRepoServer, source: _Source, options: Namespace) -> int:
    store = _find_store(server, options.datastoreId)
    if source.server_name not in server.config.domains:
        raise StartupError(f"{source.server_name} is not among mmr's `homeservers`")
    if options.transferTo:
        _check_target(server, options.transferTo)
    result = InPlaceResult()
    await _register_all(server, source, store.id, options, result)
    _tell(result, store.id, options.dry_run)
    if options.transferTo and not options.dry_run:
        await _submit(server, store.id, options.transferTo)
    return FOUND if result.skipped[Skip.UNSAFE] else OK


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
    source: _Source,
    datastore_id: str,
    options: Namespace,
    result: InPlaceResult,
) -> None:
    database = await server.files.run(
        SynapseDatabase, source.database, source.server_name
    )
    total = await server.files.run(database.count_local)
    if not options.localOnly:
        total += await server.files.run(database.count_remote)
    bar = ProgressBar("rows", total)
    batches = _batches(database, options.localOnly)
    while rows := await server.files.run(next, batches, None):
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            unsafe = await server.in_place.register(
                part, datastore_id, result, dry_run=options.dry_run
            )
            bar.clear()
            for mxc in unsafe:
                print(f"can't be served: {mxc}", file=sys.stderr)
            bar.add(len(part))
    bar.finish()


def _batches(
    database: SynapseDatabase, local_only: bool
) -> Iterator[list[SynapseMedia]]:
    yield from database.local_batches()
    if not local_only:
        yield from database.remote_batches()


def _tell(result: InPlaceResult, datastore_id: str, dry_run: bool) -> None:
    verb = "would be registered" if dry_run else "registered"
    print(f"{result.new} media {verb} in datastore {datastore_id}")
    print(f"{result.known} were known already")
    for reason, count in result.skipped.items():
        if count:
            print(f"{count} left out: {reason.value}")


async def _submit(server: MediaRepoServer, source: str, target: str) -> None:
    params = transfer.TransferParams(source, target, before_ts=_ANY_TIME_MS)
    task = await server.task_engine.submit(transfer.NAME, attrs.asdict(params))
    print(f"task {task.id} copies it to {target} as soon as mmr runs")


if __name__ == "__main__":
    sys.exit(main())
