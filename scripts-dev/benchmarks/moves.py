"""Many small files from a Synapse and into one, by our programs, beside `cp -r`.

The Synapse is a folder and an SQLite database as it leaves them. The time is that of
the whole program: about a second of it is its start.
"""

from __future__ import annotations

import random
import sqlite3
import statistics
import string
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from benchmarks.archive_imports import Figures, all_cores, run
from benchmarks.archives import FILES, SIZES
from benchmarks.processes import busy_seconds, own_seconds
from benchmarks.runner import OURS, Result, temporary_folder
from benchmarks.servers.base import fresh_bytes

NAME = "moves"

_SERVER, _USER = "localhost", "@bench:localhost"
_WHEN_MS = 1_700_000_000_000
_ID_LENGTH = 24
_CP = "cp -r"
_TABLES = """
CREATE TABLE local_media_repository (
    media_id TEXT UNIQUE, media_type TEXT, media_length INTEGER, created_ts BIGINT,
    upload_name TEXT, user_id TEXT, quarantined_by TEXT, url_cache TEXT,
    last_access_ts BIGINT, safe_from_quarantine BOOLEAN NOT NULL DEFAULT FALSE,
    authenticated BOOLEAN NOT NULL DEFAULT FALSE, sha256 TEXT);
CREATE TABLE remote_media_cache (
    media_origin TEXT, media_id TEXT, media_type TEXT, created_ts BIGINT,
    upload_name TEXT, media_length INTEGER, filesystem_id TEXT, last_access_ts BIGINT,
    quarantined_by TEXT, authenticated BOOLEAN NOT NULL DEFAULT FALSE, sha256 TEXT,
    UNIQUE (media_origin, media_id));
"""
_CONFIG = """
repo: {{bindAddress: 127.0.0.1, port: 0}}
database: {{sqlite: {place}/mmr.db}}
homeservers: [{{name: localhost, csApi: "http://127.0.0.1:1"}}]
datastores:
  - {{type: file, id: main, forKinds: [all], opts: {{path: {place}/media}}}}
"""


def measure(rounds: int) -> list[Result]:
    """Move in and out again, in rounds."""
    ways = {way: _figures() for way in ("moves-in", "moves-out")}
    foreign = []
    with temporary_folder() as folder, all_cores():
        size_bytes = _make(folder / "synapse")
        for number in range(rounds):
            place = folder / f"round-{number}"
            before, started = busy_seconds() - own_seconds(), time.perf_counter()
            for way, found in ways.items():
                (place / way).mkdir(parents=True)
                _move(way, folder / "synapse", place, size_bytes, found[OURS])
                copy = ["cp", "-r", str(folder / "synapse/store"), str(place / way)]
                run(copy, size_bytes, found[_CP])
            spent_s = busy_seconds() - own_seconds() - before
            foreign.append(max(0.0, spent_s / (time.perf_counter() - started)))
    return [
        Result(
            way,
            {label: dict(figures) for label, figures in found.items()},
            statistics.median(foreign),
            (),
        )
        for way, found in ways.items()
    ]


def _figures() -> dict[str, Figures]:
    return {label: defaultdict(list) for label in (OURS, _CP)}


def _make(folder: Path) -> int:
    """Make what a Synapse leaves on its disk; gives the bytes of its files."""
    database = _empty(folder)
    chance = random.Random(1)
    sizes = chance.choices(SIZES, k=FILES)
    for size in sizes:
        media_id = "".join(chance.choices(string.ascii_letters, k=_ID_LENGTH))
        name = Path(media_id[:2], media_id[2:4], media_id[4:])
        path = folder / "store/local_content" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(fresh_bytes(size))
        database.execute(
            "INSERT INTO local_media_repository (media_id, media_type, media_length,"
            " created_ts, upload_name, user_id) VALUES (?, ?, ?, ?, ?, ?)",
            (media_id, "image/png", size, _WHEN_MS, "a.png", _USER),
        )
    database.commit()
    database.close()
    subprocess.run(["sync"], check=True)
    return sum(sizes)


def _empty(folder: Path) -> sqlite3.Connection:
    (folder / "store").mkdir(parents=True)
    database = sqlite3.connect(folder / "homeserver.db")
    database.executescript(_TABLES)
    return database


def _move(
    way: str, synapse: Path, place: Path, size_bytes: int, found: Figures
) -> None:
    """Move in; out again to an empty Synapse."""
    config = place / "mmr.yaml"
    config.write_text(_CONFIG.format(place=place))
    program = "mmr.cli.import_synapse"
    if way == "moves-out":
        program, synapse = "mmr.cli.import_to_synapse", place / "empty"
        _empty(synapse).close()
    command = [sys.executable, "-m", program, "-config", str(config)]
    command += ["-serverName", _SERVER, "-database", f"sqlite:{synapse}/homeserver.db"]
    run([*command, "-mediaDirectory", str(synapse / "store")], size_bytes, found)
    if way == "moves-out":
        stored = sum(path.is_file() for path in (synapse / "store").rglob("*"))
        assert stored == FILES, stored
