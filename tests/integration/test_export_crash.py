"""SIGKILL during an export: it goes on, whole, and leaves nothing behind (R94, D66)."""

from __future__ import annotations

import json
import os
import random
import time

from tests.integration.inside import recorded, rows, sweep
from tests.integration.process import poll
from tests.integration.server import SERVER_NAME, Server
from tests.rest.admin.export_case import unpacked

ADMIN = "/_matrix/media/unstable/admin"
FILES = 200
KILLS = 5


def test_killed_at_any_point(engine: Server) -> None:
    """R94, R95."""
    chance = random.Random(20261122)
    engine.write_config(
        {
            "admins": [f"@tests:{SERVER_NAME}"],
            "uploads": {"minBytes": 0, "minFreeBytes": 0},
            "archiving": {"targetBytesPerPart": 100_000},
        }
    )
    engine.start()
    files = {}
    for _ in range(FILES):
        data = os.urandom(100_000)
        files[engine.upload(data)] = data
    started = engine.request("POST", f"{ADMIN}/server/{SERVER_NAME}/export").json
    done = []
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.0, 0.15))
        engine.child.kill()
        done += rows(engine, "SELECT COUNT(*) FROM export_parts")
        engine.start()
    assert done[0][0] <= FILES, "it was over before it was killed"

    def is_over() -> bool:
        task = engine.request("GET", f"{ADMIN}/tasks/{started['task_id']}").json
        assert task["error_message"] == ""
        return bool(task["is_finished"])

    poll(is_over, "the export is over", 60)
    export = f"{ADMIN}/export/{started['export_id']}"
    parts = engine.request("GET", f"{export}/metadata", token="").json["parts"]
    assert [part["index"] for part in parts] == list(range(1, FILES + 2))
    found: dict[str, bytes] = {}
    for part in parts:
        answer = engine.request("GET", f"{export}/part/{part['index']}", token="")
        found |= unpacked(answer.body)
    listed = json.loads(found["manifest.json"])["media"]
    assert {mxc: found[each["file_name"]] for mxc, each in listed.items()} == files
    assert len(found) == FILES + 2

    assert engine.request("DELETE", export, token="").status == 200
    engine.stop()
    sweep(engine)
    assert engine.objects() == recorded(engine)
    for table in ("object_intents", "object_deletes", "exports", "export_entries"):
        assert rows(engine, f"SELECT * FROM mmr_{table}") == []
