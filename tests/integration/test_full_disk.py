"""A server on a disk that fills up: a real file system of a few megabytes (R97)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.harness import png
from tests.integration.conftest import MakeServer
from tests.integration.inside import recorded, rows, sweep
from tests.integration.process import poll
from tests.integration.server import Server

_DISK_BYTES = 6 << 20
_THUMBNAIL = "/_matrix/client/v1/media/thumbnail/{}?width=96&height=96&method=crop"


@attrs.frozen
class SmallDisk:
    """A file system of its own, which can be filled."""

    path: Path

    def fill(self) -> None:
        """Leave not a byte."""
        with open(self.path / "filler", "ab", buffering=0) as filler:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:
                    continue

    def empty(self) -> None:
        """Give the room back."""
        (self.path / "filler").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "mmr-test", str(path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a disk of a few megabytes can only be had by root (mount)")
    yield SmallDisk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def media_on_disk(make_server: MakeServer, disk: SmallDisk) -> Server:
    """A running server with its media on the small disk."""
    made = make_server({"uploads": {"minBytes": 0, "minFreeBytes": 0}})
    made.media = disk.path / "media"
    made.config["datastores"][0]["opts"]["path"] = str(made.media)
    made.write_config()
    made.start()
    return made


@pytest.fixture(params=["media", "media and database"])
def server(
    request: pytest.FixtureRequest, media_on_disk: Server, disk: SmallDisk
) -> Server:
    """The same; or the database is there too."""
    if "database" in request.param:
        media_on_disk.stop()
        path = str(disk.path / "mmr.db")
        media_on_disk.write_config({"database": {"sqlite": path}})
        media_on_disk.start()
    return media_on_disk


def status_of_upload(server: Server, data: bytes) -> int:
    return server.request("POST", "/_matrix/media/v3/upload", data).status


def ready(server: Server) -> int:
    return server.request("GET", "/healthz/ready", token="").status


def test_it_fills_up_and_is_emptied(server: Server, disk: SmallDisk) -> None:
    """R97: 5xx and nothing left; reads go on; red, then green without a restart."""
    small, picture = os.urandom(20_000), png(400, 400, "blue")
    kept = {server.upload(data): data for data in (small, os.urandom(500_000))}
    mxc = server.upload(picture, "image/png")
    kept[mxc] = picture
    first = _THUMBNAIL.format(mxc.removeprefix("mxc://"))
    mxc = server.upload(png(300, 300), "image/png")
    shown = _THUMBNAIL.format(mxc.removeprefix("mxc://"))
    assert server.request("GET", shown).status == 200
    assert ready(server) == 200
    objects = server.objects()

    disk.fill()
    for size in (100, 50_000, 900_000):
        assert status_of_upload(server, os.urandom(size)) in (500, 503)
    assert server.request("GET", first).status in (500, 503)
    assert server.objects() == objects
    for mxc, data in kept.items():
        assert server.download(mxc).body == data
    assert server.request("GET", shown).status == 200
    assert server.request("GET", "/healthz").status == 200
    poll(lambda: ready(server) == 503, "readiness red", 10)
    error = server.request("GET", "/healthz/ready", token="").json["error"]
    assert "datastore main" in error
    assert str(disk.path) not in error
    log = server.child.log_text(200_000)
    assert str(server.media) in log
    assert "Free space on that disk, or add a datastore on another one." in log

    disk.empty()
    poll(lambda: ready(server) == 200, "readiness green", 10)
    more = os.urandom(30_000)
    kept[server.upload(more)] = more
    assert server.request("GET", first).status == 200
    server.stop()
    sweep(server)
    assert server.objects() == recorded(server)
    for table in ("mmr_object_intents", "mmr_object_deletes", "mmr_quota_reservations"):
        assert rows(server, f"SELECT * FROM {table}") == []
    server.start()
    for mxc, data in kept.items():
        assert server.download(mxc).body == data


def test_it_starts_on_a_full_disk_and_serves(
    media_on_disk: Server, disk: SmallDisk
) -> None:
    """R97: reads go on."""
    data = os.urandom(20_000)
    mxc = media_on_disk.upload(data)
    media_on_disk.stop()
    disk.fill()
    media_on_disk.start()
    assert media_on_disk.download(mxc).body == data
    assert ready(media_on_disk) == 503
    assert status_of_upload(media_on_disk, data + b"x") == 503


def test_the_database_has_a_disk_of_its_own(
    make_server: MakeServer, disk: SmallDisk
) -> None:
    """R97: what it can't take is no upload, and leaves no file."""
    server = make_server({"database": {"sqlite": str(disk.path / "mmr.db")}})
    server.start()
    data = os.urandom(20_000)
    mxc = server.upload(data)
    assert ready(server) == 200

    def is_full() -> bool:
        # There may be room left within the database's own files.
        disk.fill()
        return status_of_upload(server, os.urandom(9_000)) >= 500

    poll(is_full, "full", 30)
    poll(lambda: ready(server) == 503, "readiness red", 10)
    error = server.request("GET", "/healthz/ready", token="").json["error"]
    assert error == "Not ready: database"
    assert server.download(mxc).body == data
    disk.empty()
    poll(lambda: ready(server) == 200, "readiness green", 10)
    server.upload(os.urandom(9_000))
    server.stop()
    sweep(server)
    assert server.objects() == recorded(server)


def test_many_uploads_meet_the_end_of_the_disk(server: Server, disk: SmallDisk) -> None:
    """R97: each is whole or an error, and what isn't acknowledged isn't there."""
    kept = {}
    refused = 0
    deadline = time.monotonic() + 30
    while refused < 5 and time.monotonic() < deadline:
        data = os.urandom(400_000)
        answer = server.request("POST", "/_matrix/media/v3/upload", data)
        if answer.status == 200:
            kept[answer.json["content_uri"]] = data
        else:
            assert answer.status in (500, 503)
            refused += 1
    assert kept
    assert refused == 5
    for mxc, data in kept.items():
        assert server.download(mxc).body == data
    server.stop()
    sweep(server)
    assert server.objects() == recorded(server)
    assert rows(server, "SELECT count(*) FROM media") == [(len(kept),)]
