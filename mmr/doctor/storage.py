"""Database, datastores and Redis, with real reads and writes."""

from __future__ import annotations

from mmr.cluster.redis import RedisUnavailable, Shard
from mmr.datastores.base import Datastore
from mmr.doctor.finding import Finding, fault, good, warning
from mmr.doctor.homeserver import skew_finding
from mmr.errors import MatrixError, StartupError
from mmr.server import MediaRepoServer
from mmr.storage.errors import DatabaseUnavailable
from mmr.storage.health import DatabaseHealth, look
from mmr.types import Kind

_SLOW_DATABASE_S = 0.01
_REDIS_WAIT_S = 3.0
_CONTENT = b"mmr-check was here\n" * 50


async def check_database(server: MediaRepoServer) -> list[Finding]:
    """Reachable, of the right version, quick, and in time."""
    try:
        seen = await server.files.run(look, server.db.engine)
    except DatabaseUnavailable as error:
        return [
            fault(
                "database",
                str(error),
                "Start it, or correct database.postgres in the configuration",
            )
        ]
    return [
        _schema(seen),
        _latency(seen),
        *skew_finding("clock of the database", seen.clock_ms, server.clock),
    ]


def _schema(seen: DatabaseHealth) -> Finding:
    if seen.schema is None:
        return warning("database", "it is empty", "The first start of mmr fills it")
    if seen.schema < seen.newest:
        return fault(
            "database",
            f"its schema has version {seen.schema}, this release needs {seen.newest}",
            "Make a backup, then restart every mmr process: the first one upgrades it",
        )
    if seen.schema > seen.newest:
        return fault(
            "database",
            f"its schema has version {seen.schema}, this release knows {seen.newest}",
            "Install the newer release that upgraded it",
        )
    return good("database", f"{seen.version.split(' on ')[0]}, schema {seen.schema}")


def _latency(seen: DatabaseHealth) -> Finding:
    text = f"a query takes {seen.latency_s * 1000:.2f} ms"
    if seen.latency_s <= _SLOW_DATABASE_S:
        return good("database", text)
    fix = "Bring mmr and its database nearer to each other; 1 ms is usual"
    return warning("database", text, fix)


async def check_datastore(server: MediaRepoServer, store: Datastore) -> list[Finding]:
    """Write, read and delete a small object."""
    subject = f"datastore {store.id}"
    try:
        await store.check()
    except (StartupError, MatrixError) as error:
        return [fault(subject, str(error), _store_fix(error))]
    if not store.kinds & frozenset(Kind):
        return [good(subject, "it can be read; nothing new is put there")]
    location = None
    try:
        writer = await store.create()
        try:
            await writer.write(_CONTENT)
            await writer.seal()
            location = writer.location or store.location_of(server.ids.object_name())
            await writer.publish(location)
        finally:
            await writer.discard()
        stored = await store.open(location)
        try:
            same = await stored.read(0, len(_CONTENT) + 1) == _CONTENT
        finally:
            await stored.close()
        await store.delete(location)
    except MatrixError as error:
        return [fault(subject, str(error), _store_fix(error))]
    if not same:
        fix = (
            "Look after the disk or the object store: it doesn't keep what it is given"
        )
        return [fault(subject, "what was read is not what was written", fix)]
    return [good(subject, "an object was written, read and deleted")]


def _store_fix(error: Exception) -> str:
    text = str(error).lower()
    if "permission" in text or "read-only" in text:
        return "Let the user that runs mmr write there (chown, ReadWritePaths=)"
    return "Change datastores[].opts, or what stands behind it: docs/object-storage.md"


async def check_redis(server: MediaRepoServer) -> list[Finding]:
    """Ask each shard."""
    if server.redis is None:
        return []
    server.redis.start()
    findings = [await _check_shard(server, shard) for shard in server.redis.shards]
    return [finding for some in findings for finding in some]


async def _check_shard(server: MediaRepoServer, shard: Shard) -> list[Finding]:
    subject = f"redis {shard.name}"
    deadline = server.clock.monotonic() + _REDIS_WAIT_S
    while not shard.is_up and server.clock.monotonic() < deadline:
        await server.clock.sleep(0.05)
    try:
        started = server.clock.monotonic()
        await shard.execute("PING")
        took = server.clock.monotonic() - started
    except RedisUnavailable as error:
        return [
            fault(
                subject,
                f"{error}. Without it each process caches and limits alone",
                "Start it, or correct redis.shards[].addr, redis.password, redis.tls",
            )
        ]
    return [good(subject, f"it answers in {took * 1000:.1f} ms")]
