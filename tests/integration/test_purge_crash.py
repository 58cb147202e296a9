"""SIGKILL and SIGTERM in the middle of a large purge: the next start finishes it."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any
from urllib.parse import quote

import pytest

from tests.integration.inside import recorded, rows, sweep
from tests.integration.process import poll
from tests.integration.server import SERVER_NAME, Server

SECRET = "a-shared-secret-of-some-length"
USER = f"@tests:{SERVER_NAME}"
OTHER = f"@other:{SERVER_NAME}"
ADMIN = "/_matrix/media/unstable/admin"
COUNT = 10_000

# As many as a purge needs some seconds for, without files; the real ones are oldest.
_INSERT = f"""
    WITH RECURSIVE numbers (n) AS (
        SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {COUNT}
    )
    INSERT INTO media (origin, media_id, upload_name, content_type, user_id,
        sha256_hash, size_bytes, location, creation_ts, quarantined, datastore_id)
    SELECT '{SERVER_NAME}', 'bulk' || n, '', 'a/b', '{USER}', 'hash' || n, 10,
        'bu/lk/' || n, n, FALSE, 'main' FROM numbers
"""


def read(server: Server, path: str) -> Any:
    answer = server.request("GET", ADMIN + path, token=SECRET)
    assert answer.status == 200, answer
    return json.loads(answer.body)


class Purging:
    """The call of an admin, who may never hear the answer."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.status: int | None = None
        self._thread = threading.Thread(target=self._call)
        self._thread.start()

    def _call(self) -> None:
        path = f"{ADMIN}/purge/user/{quote(USER)}?reason=spam"
        try:
            answer = self._server.request("POST", path, token=SECRET)
        except (OSError, http.client.HTTPException):
            return
        self.status = answer.status

    def join(self) -> int | None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.status


def left(server: Server) -> int:
    """How many of the user's are still there."""
    found = read(server, f"/usage/{SERVER_NAME}/users-stats?search_term=tests")
    return sum(user["media_count"] for user in found["users"])


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_purge_is_finished_after_a_restart(engine: Server, is_killed: bool) -> None:
    """R101: no row without object, no object without row after the sweep."""
    engine.write_config({"sharedSecretAuth": {"enabled": True, "token": SECRET}})
    engine.start()
    for number in range(60):
        engine.upload(b"%3d" % number * 100)
    engine.stop()
    rows(engine, _INSERT)
    rows(
        engine,
        f"UPDATE media SET user_id = '{OTHER}', creation_ts = 0 WHERE media_id ="
        " (SELECT MIN(media_id) FROM media WHERE media_id NOT LIKE 'bulk%')",
    )

    engine.start()
    purging = Purging(engine)
    poll(lambda: left(engine) < COUNT - 100, "no purge", 60)
    if is_killed:
        engine.child.kill()
        assert purging.join() is None
        # Half a minute's silence.
        rows(engine, "UPDATE mmr_task_progress SET held_until_ts = 1")
    else:
        engine.stop()
        assert purging.join() == 503
    assert rows(engine, f"SELECT count(*) FROM media WHERE user_id = '{USER}'") != [
        (0,)
    ]

    engine.start()
    poll(lambda: left(engine) == 0, "not finished", 90)
    poll(lambda: not read(engine, "/tasks/unfinished"), "no end", 30)
    [task] = read(engine, "/tasks/all")
    assert (task["task_name"], task["error_message"]) == ("purge_media", "")
    assert task["progress"]["done"] == task["progress"]["total"]
    [entry] = read(engine, "/audit")["entries"]
    assert entry["affected"] == COUNT + 59
    assert (entry["reason"], entry["error"]) == ("spam", "")
    engine.stop()
    sweep(engine)
    assert engine.objects() == recorded(engine)
    assert len(engine.objects()) == 1
    assert rows(engine, "SELECT * FROM mmr_object_intents") == []
