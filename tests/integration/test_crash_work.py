"""SIGKILL while thumbnails are kept, media purged, objects deleted and moved (R94)."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.harness import jpeg
from tests.integration.inside import _SWEEP, rows
from tests.integration.process import poll
from tests.integration.server import SERVER_NAME, Server
from tests.integration.truth import Truth

ADMIN = "/_matrix/media/unstable/admin"
_THUMBNAIL = "/_matrix/client/v1/media/thumbnail/{}?width={}&height={}&method={}"
_SIZES = ((32, 32), (96, 96), (320, 240), (640, 480), (800, 600))
_CLIENTS = 4


@pytest.fixture
def server(engine: Server) -> Iterator[Server]:
    """One on each engine, with two stores and an admin; not started."""
    second = {
        "type": "file",
        "id": "second",
        "forKinds": [],
        "opts": {"path": str(engine.folder / "second")},
    }
    engine.write_config(
        {
            "admins": [f"@tests:{SERVER_NAME}"],
            "uploads": {"minBytes": 0, "minFreeBytes": 0},
            "datastores": [*engine.config["datastores"], second],
        }
    )
    (engine.folder / "second").mkdir()
    yield engine
    engine.child.kill()


def until_killed(server: Server, work: Iterable[Callable[[], object]]) -> int:
    """Have several clients do the work; kill the server in the middle of it.

    Returns:
        How much of it was answered.
    """
    todo = iter(work)
    lock, answered = threading.Lock(), itertools.count()
    first = threading.Event()
    wrong: list[BaseException] = []

    def run() -> None:
        while True:
            with lock:
                job = next(todo, None)
            if job is None:
                return
            try:
                job()
            except (OSError, http.client.HTTPException):
                return
            except AssertionError as error:
                wrong.append(error)
                return
            next(answered)
            first.set()

    threads = [threading.Thread(target=run) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    first.wait(30)
    time.sleep(random.uniform(0.02, 0.2))
    server.child.kill()
    for thread in threads:
        thread.join(60)
    assert not wrong
    return next(answered)


def test_thumbnails(server: Server) -> None:
    """R94: what was shown has its row and its file; nothing else is left."""
    server.start()
    pictures = [
        server.upload(jpeg(900 + n, 700, f"#{n:02x}8040"), "image/jpeg")
        for n in range(24)
    ]
    server.stop()
    shown: dict[tuple[str, int, int, str], bytes] = {}

    def ask(key: tuple[str, int, int, str]) -> None:
        path = _THUMBNAIL.format(key[0].removeprefix("mxc://"), *key[1:])
        answer = server.request("GET", path)
        assert answer.status == 200
        shown[key] = answer.body

    wanted = [
        (mxc, *size, method)
        for method in ("crop", "scale")
        for size in _SIZES
        for mxc in pictures
    ]
    random.Random(94).shuffle(wanted)
    rounds = 0
    while len(shown) < len(wanted) and rounds < 5:
        rounds += 1
        server.start()
        left = [key for key in wanted if key not in shown]
        until_killed(server, [lambda key=key: ask(key) for key in left])
    query = "SELECT media_id, width, height, method, sha256_hash FROM thumbnails"
    kept = {tuple(row[:4]): row[4] for row in rows(server, query)}
    for (mxc, *key), body in shown.items():
        digest = hashlib.sha256(body).hexdigest()
        assert kept[(mxc.rpartition("/")[2], *key)] == digest
    assert 0 < len(shown) < len(wanted)
    Truth(server).check()
    server.start()
    for key, body in list(shown.items())[::5]:
        ask(key)
        assert shown[key] == body


def test_purges(server: Server) -> None:
    """R94: what was purged is gone, the rest is whole; calling again ends it."""
    server.start()
    shared = os.urandom(3000)
    bodies = [shared if n % 7 == 0 else os.urandom(3000 + n) for n in range(80)]
    media = {
        server.upload(body, f"application/x-{n}"): body for n, body in enumerate(bodies)
    }
    picture = server.upload(jpeg(900, 700), "image/jpeg")
    for size in _SIZES:
        path = _THUMBNAIL.format(picture.removeprefix("mxc://"), *size, "crop")
        assert server.request("GET", path).status == 200
    gone: set[str] = set()

    def purge(mxc: str) -> None:
        path = f"{ADMIN}/purge/{mxc.removeprefix('mxc://')}"
        assert server.request("POST", path).status == 200
        gone.add(mxc)

    def purge_all() -> None:
        answer = server.request("POST", f"{ADMIN}/purge/user/@tests:{SERVER_NAME}")
        assert answer.status == 200
        gone.update(media, {picture})

    for jobs in (
        [lambda mxc=mxc: purge(mxc) for mxc in [*media][:30]],
        [lambda mxc=mxc: purge(mxc) for mxc in [picture, *media][:60]],
    ):
        until_killed(server, jobs)
        kill_in_the_sweep(server)
        query = "SELECT media_id FROM media"
        left = {f"mxc://{SERVER_NAME}/{row[0]}" for row in rows(server, query)}
        assert gone
        assert not gone & left
        # At most what was being answered may be gone as well.
        assert len(set(media) - left - gone) <= _CLIENTS
        gone |= set(media) - left
        server.start()
        for mxc in gone:
            assert server.download(mxc).status == 404
        for mxc in left & set(media):
            assert server.download(mxc).body == media[mxc]
    # And all at once, in batches: whatever was done before the end is done.
    thread = threading.Thread(target=_try, args=(purge_all,))
    thread.start()
    time.sleep(random.uniform(0.01, 0.05))
    server.child.kill()
    thread.join(60)
    Truth(server).check()
    server.start()
    purge_all()
    server.stop()
    kill_in_the_sweep(server)
    Truth(server).check()
    assert rows(server, "SELECT * FROM media") == []
    assert Truth(server).named() == {}


def _try(job: Callable[[], object]) -> None:
    try:
        job()
    except (OSError, http.client.HTTPException):
        return


def kill_in_the_sweep(server: Server) -> None:
    """Kill what deletes the objects of purged media, too."""
    child = subprocess.Popen(
        [sys.executable, "-c", _SWEEP, str(server.config_path)],
        stderr=subprocess.DEVNULL,
    )
    queued = _count(server, "mmr_object_deletes")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and child.poll() is None:
        if _count(server, "mmr_object_deletes") < queued:
            break
        time.sleep(0.002)
    child.kill()
    child.wait()


def _count(server: Server, table: str) -> int:
    return int(rows(server, f"SELECT count(*) FROM {table}")[0][0])


def test_a_move_to_another_datastore(server: Server) -> None:
    """R94, D65, D66: each start goes on with it; no object is lost or left."""
    server.start()
    media = {server.upload(body): body for body in map(os.urandom, range(2000, 2160))}
    big = os.urandom(3_000_000)
    media[server.upload(big)] = big
    path = f"{ADMIN}/datastores/main/transfer_to/second"
    assert server.request("POST", path).status == 200
    for _ in range(5):
        moved = _moved(server)
        poll(lambda moved=moved: _moved(server) > moved or _done(server), "moving", 30)
        time.sleep(random.uniform(0, 0.03))
        server.child.kill()
        for mxc, body in list(media.items())[::9]:
            location = _place(server, mxc)
            assert location.read_bytes() == body
        server.start()
    poll(lambda: _done(server), "the end of the transfer", 60)
    [(error, ended)] = rows(server, "SELECT error, end_ts FROM background_tasks")
    assert not error
    assert ended
    for mxc, body in media.items():
        assert server.download(mxc).body == body
    server.stop()
    truth = Truth(server)
    truth.check()
    assert {path.parents[2] for path in truth.named()} == {truth.folders["second"]}


def _moved(server: Server) -> int:
    query = "SELECT count(*) FROM media WHERE datastore_id = 'second'"
    return int(rows(server, query)[0][0])


def _done(server: Server) -> bool:
    return rows(server, "SELECT 1 FROM background_tasks WHERE end_ts IS NULL") == []


def _place(server: Server, mxc: str) -> Path:
    media_id = mxc.rpartition("/")[2]
    query = "SELECT datastore_id, location FROM media WHERE media_id = "
    [(store, location)] = rows(server, f"{query}'{media_id}'")
    return Truth(server).folders[store] / str(location)
