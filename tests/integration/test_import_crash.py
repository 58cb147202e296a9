"""SIGKILL during an import: it goes on, whole, and leaves nothing behind (R94, D66)."""

from __future__ import annotations

import os
import random
import time

from tests.archives.making import Archive
from tests.integration.inside import recorded, rows, sweep
from tests.integration.process import poll
from tests.integration.server import SERVER_NAME, Server

ADMIN = "/_matrix/media/unstable/admin"
FILES = 3000
LARGE = 10
KILLS = 6


def made() -> Archive:
    """Small files, and some that come in pieces."""
    archive = Archive(SERVER_NAME)
    for number in range(FILES):
        archive.add(f"m{number}", os.urandom(3000), origin=SERVER_NAME, uploader="")
        if number % (FILES // LARGE) == 0:
            archive.add(
                f"l{number}", os.urandom(900_000), origin=SERVER_NAME, uploader=""
            )
    return archive


def test_killed_at_any_point(engine: Server) -> None:
    """R94, R95: with parts read, half read and waiting."""
    chance = random.Random(20261123)
    engine.write_config(
        {
            "admins": [f"@tests:{SERVER_NAME}"],
            "uploads": {"minBytes": 0, "minFreeBytes": 0},
        }
    )
    engine.start()
    archive = made()
    *parts, manifest = archive.parts(4).values()
    started = engine.request("POST", f"{ADMIN}/import", body=parts[0]).json
    path = f"{ADMIN}/import/{started['import_id']}/part"
    for part in (*parts[1:], manifest):
        assert engine.request("POST", path, body=part).status == 200
    counts = []
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.0, 0.1))
        engine.child.kill()
        counts += rows(engine, "SELECT COUNT(*) FROM media")
        engine.start()
    total = len(archive.media)
    assert counts[0][0] < total, "it was over before it was killed"

    def is_over() -> bool:
        task = engine.request("GET", f"{ADMIN}/tasks/{started['task_id']}").json
        assert task["error_message"] == ""
        return bool(task["is_finished"])

    poll(is_over, "the import is over", 60)
    for (name, data), record in list(
        zip(archive.entries, archive.media.values(), strict=True)
    )[::101]:
        assert name == record["file_name"]
        answer = engine.request(
            "GET",
            f"/_matrix/client/v1/media/download/{SERVER_NAME}/{record['media_id']}",
        )
        assert answer.body == data
    assert rows(engine, "SELECT COUNT(*) FROM media") == [(total,)]

    engine.stop()
    sweep(engine)
    assert engine.objects() == recorded(engine)
    assert len(engine.objects()) == total
    for table in ("object_intents", "object_deletes", "imports", "import_parts"):
        assert rows(engine, f"SELECT * FROM mmr_{table}") == []
