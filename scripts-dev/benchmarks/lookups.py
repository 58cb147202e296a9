"""What a request asks the database, with 10,000 media and with 10,000,000.

Run as a module (database, rows, seconds) it is the one who asks: with our own pool and
stores, one lookup after the other.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from benchmarks.errors import BenchError
from benchmarks.processes import busy_seconds, own_seconds
from benchmarks.runner import OURS, Result, temporary_folder
from benchmarks.servers.mmr import Mmr
from benchmarks.servers.services import Postgres
from benchmarks.stats import percentile

NAME = "lookup-10m"
_FEW, _MANY = 10_000, 10_000_000
_SMALL = "10k rows"
_CHOICES = 50
# Nothing of what is made here has to survive.
_SETTINGS = (
    "fsync=off",
    "autovacuum=off",
    "shared_buffers=1GB",
    "maintenance_work_mem=1GB",
    "max_wal_size=8GB",
)
_FILL = """
    INSERT INTO media (origin, media_id, upload_name, content_type, user_id,
        sha256_hash, size_bytes, location, creation_ts, datastore_id)
    SELECT CASE n % 4 WHEN 0 THEN 'localhost' ELSE 'server' || n % 5000 || '.example'
        END, md5(n::text) || n, 'picture.jpg', 'image/jpeg',
        CASE n % 4 WHEN 0 THEN '@user' || n % 20000 || ':localhost' ELSE '' END,
        md5(n::text) || md5('b' || n), 100000 + n % 1000000,
        md5(n::text) || 'idv2fmt', 1700000000000 + n, 'bench'
    FROM generate_series(1, {rows}) AS n
"""


class _OnPostgres(Mmr):
    """Makes the tables."""

    def __init__(self, folder: Path, database: str) -> None:
        super().__init__(folder)
        self._database = database

    def _config(self) -> dict[str, Any]:
        return {**super()._config(), "database": {"postgres": self._database}}


def measure(rounds: int, seconds: float) -> Result:
    """Fill both databases, and ask them in turns."""
    many: dict[str, list[float]] = defaultdict(list)
    few: dict[str, list[float]] = defaultdict(list)
    with temporary_folder() as folder:
        (folder / "postgres").mkdir()
        postgres = Postgres(folder / "postgres", _SETTINGS)
        try:
            sizes = {"few": _FEW, "many": _MANY}
            for name, rows in sizes.items():
                _fill(postgres, folder, name, rows)
            before, started = busy_seconds() - own_seconds(), time.perf_counter()
            for _ in range(rounds):
                for found, name in ((many, "many"), (few, "few")):
                    figures = _ask(postgres.address(name), sizes[name], seconds)
                    for key, value in figures.items():
                        found[key].append(value)
            # The database is counted with the others: it can't be told apart.
            spent_s = busy_seconds() - own_seconds() - before
            busy = max(0.0, spent_s / (time.perf_counter() - started))
        finally:
            postgres.stop()
    return Result(NAME, {OURS: dict(many), _SMALL: dict(few)}, busy)


def _fill(postgres: Postgres, folder: Path, name: str, rows: int) -> None:
    postgres.psql(f"CREATE DATABASE {name}")
    (folder / name).mkdir()
    server = _OnPostgres(folder / name, postgres.address(name))
    try:
        server.start()
    finally:
        server.stop()
    # Row by row, the trigger and the indexes would take an hour.
    indexes = postgres.psql(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'media'"
        " AND schemaname = 'public'",
        name,
    ).splitlines()
    names = [definition.split(" INDEX ")[1].split()[0] for definition in indexes]
    postgres.psql("ALTER TABLE media DISABLE TRIGGER ALL", name)
    for index in names:
        postgres.psql(f"DROP INDEX {index}", name)
    postgres.psql(_FILL.format(rows=rows), name)
    for definition in indexes:
        postgres.psql(definition, name)
    postgres.psql("VACUUM (ANALYZE) media", name)


def _ask(database: str, rows: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, database, str(rows), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"the lookups failed: {done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


async def _look_up(reactor: Any, database: str, rows: int, seconds: float) -> None:
    from mmr.config.database import DatabaseConfig
    from mmr.storage.database import open_database
    from mmr.storage.stores import Stores
    from mmr.util.clock import Clock

    db = open_database(DatabaseConfig(postgres=database), reactor, Clock(reactor))
    await db.start()
    try:
        stores = Stores(db)
        times_ms: list[float] = []
        ends = time.perf_counter() + 2 * seconds
        # The first half warms the caches of the database and the system.
        warm = ends - seconds
        while (started := time.perf_counter()) < ends:
            number = random.randint(1, rows // 4) * 4
            name = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
            if await stores.media.get_media("localhost", f"{name}{number}") is None:
                raise BenchError(f"there is no media {number}")
            if started >= warm:
                times_ms.append((time.perf_counter() - started) * 1000)
        started = time.perf_counter()
        for _ in range(_CHOICES):
            await stores.datastores.get_totals()
        choice_ms = (time.perf_counter() - started) * 1000 / _CHOICES
    finally:
        await db.close()
    figures = {
        "rate": len(times_ms) / seconds,
        "p50_ms": percentile(times_ms, 50),
        "p99_ms": percentile(times_ms, 99),
        "choice_ms": choice_ms,
    }
    print(json.dumps(figures))


def _main(reactor: Any) -> Deferred[None]:
    database, rows, seconds = sys.argv[1:]
    return Deferred.fromCoroutine(
        _look_up(reactor, database, int(rows), float(seconds))
    )


if __name__ == "__main__":
    react(_main)
