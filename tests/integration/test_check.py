"""``mmr-check`` finds what is wrong with an installation, and names the fix."""

from __future__ import annotations

import http.server
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
import yaml

from mmr.crypto.key_formats import KeyFormat, encode_keys
from mmr.crypto.keys import SigningKey

from tests.datastores.s3_server import bucket_options, new_bucket
from tests.integration.nginx import Nginx
from tests.integration.process import free_port
from tests.integration.server import Server, merged
from tests.postgres import create_database
from tests.redis import RedisServer


class _Homeserver(http.server.BaseHTTPRequestHandler):
    """Answers as Synapse does where ``mmr-check`` looks."""

    name = ""
    key: SigningKey
    skew_s = 0
    answers: ClassVar[dict[str, tuple[int, dict[str, Any]]]] = {
        "/_matrix/client/versions": (200, {"versions": ["v1.11"]}),
        "/_matrix/client/v3/account/whoami": (401, {"errcode": "M_UNKNOWN_TOKEN"}),
        "/_synapse/admin/v1/server_version": (401, {"errcode": "M_MISSING_TOKEN"}),
    }

    def do_GET(self) -> None:
        """One of the answers, else what Synapse says to an unknown path."""
        unknown = (404, {"errcode": "M_UNRECOGNIZED"})
        status, body = self.answers.get(self.path, unknown)
        if self.path == "/_matrix/key/v2/server":
            verify = {self.key.key_id: {"key": self.key.verify_key.text}}
            status, body = 200, {"server_name": self.name, "verify_keys": verify}
        data = json.dumps(body).encode()
        self.send_response_only(status)
        self.send_header("Date", formatdate(time.time() + self.skew_s, usegmt=True))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_OPTIONS = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Not on the terminal."""


@attrs.frozen
class Place:
    """A healthy installation: what each test breaks in one place.

    Attributes:
        homeserver: Its handler; class attributes are its state.
    """

    server: Server
    homeserver: type[_Homeserver]
    nginx: Nginx
    folder: Path

    @property
    def name(self) -> str:
        """The homeserver's."""
        return self.homeserver.name

    def check(
        self,
        changes: Mapping[str, Any] | None = None,
        *arguments: str,
        **environment: str,
    ) -> tuple[int, list[dict[str, str]]]:
        """Run the program as JSON; its exit status and what isn't good."""
        config = self.folder / "check.yaml"
        config.write_text(yaml.safe_dump(merged(self.server.config, changes or {})))
        config.chmod(0o600)
        done = self.run("-config", str(config), "-json", *arguments, **environment)
        report = json.loads(done.stdout)
        bad = [
            each
            for each in report["findings"]
            # Debian mends old versions of programs, whose numbers stay old.
            if each["level"] != "good" and each["subject"] != "libraries"
        ]
        assert report["faults"] == sum(each["level"] == "fault" for each in bad)
        return done.returncode, bad

    def run(
        self, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the program."""
        program = Path(sys.executable).with_name("mmr-check")
        url = f"{self.name}={self.nginx.url}"
        return subprocess.run(
            [str(program), "-url", url, *arguments],
            env={
                **os.environ,
                "MEDIA_REPO_HTTP_ONLY_FEDERATION": "true",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Everything up, and nothing wrong."""
    folder = tmp_path_factory.mktemp("check")
    port = free_port()
    # An address as server name needs no DNS: others find it at once.
    key = SigningKey.generate()
    handler = type("Handler", (_Homeserver,), {"name": f"127.0.0.1:{port}", "key": key})
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{serving.server_address[1]}"
    key_path = folder / "signing.key"
    key_path.write_text(encode_keys([key], KeyFormat.MMR))
    key_path.chmod(0o600)
    redis = RedisServer()
    redis.start()
    domain = {
        "name": handler.name,
        "csApi": url,
        "adminApiKind": "synapse",
        "signingKeyPath": str(key_path),
    }
    server = Server(
        folder,
        {
            "homeservers": [domain],
            "database": {"sqlite": None, "postgres": create_database()},
            "redis": {
                "enabled": True,
                "shards": [{"name": "one", "addr": redis.address}],
            },
        },
    )
    nginx = Nginx(folder / "nginx", handler.name, server.port, url, port=port)
    try:
        server.start()
        nginx.start()
        yield Place(server, handler, nginx, folder)
    finally:
        nginx.stop()
        server.child.kill()
        redis.remove()
        serving.shutdown()
        thread.join()
        serving.server_close()


@pytest.fixture
def place(healthy: Place) -> Iterator[Place]:
    """The same for each test, with a homeserver as it should be."""
    before = dict(healthy.homeserver.answers)
    key = healthy.homeserver.key
    yield healthy
    healthy.homeserver.answers = before
    healthy.homeserver.key = key
    healthy.homeserver.skew_s = 0


def the_fault(found: list[dict[str, str]], subject: str) -> dict[str, str]:
    """The only fault, which is about that."""
    faults = [each for each in found if each["level"] == "fault"]
    assert [each["subject"] for each in faults] == [subject], found
    return faults[0]


def test_a_healthy_installation_has_no_fault(place: Place) -> None:
    status, found = place.check()
    assert (status, found) == (0, [])


def test_people_read_lines_and_a_sum(place: Place) -> None:
    done = place.run("-config", str(place.server.config_path))
    assert done.returncode == 0, done.stdout
    assert "good  database: PostgreSQL 1" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("0 faults, ")
    assert "Traceback" not in done.stderr


def test_it_leaves_nothing_behind(place: Place) -> None:
    before = place.server.objects()
    place.check()
    assert place.server.objects() == before


def test_wrong_host(place: Place, tmp_path: Path) -> None:
    nginx = Nginx(
        tmp_path / "nginx", "wrong.test", place.server.port, "http://127.0.0.1:9"
    )
    nginx.start()
    try:
        status, found = place.check(None, "-url", f"{place.name}={nginx.url}")
    finally:
        nginx.stop()
    fault = the_fault(found, f"proxy {place.name}")
    assert status == 1
    assert "a Host that is no homeserver" in fault["text"]
    assert f"proxy_set_header Host {place.name};" in fault["fix"]


def test_missing_routes_come_with_the_block_to_paste(
    place: Place, tmp_path: Path
) -> None:
    url = place.server.config["homeservers"][0]["csApi"]
    nginx = Nginx(tmp_path / "nginx", place.name, None, url)
    nginx.start()
    try:
        status, found = place.check(None, "-url", f"{place.name}={nginx.url}")
    finally:
        nginx.stop()
    fault = the_fault(found, f"proxy {place.name}")
    assert status == 1
    assert "don't come to mmr" in fault["text"]
    assert "location ~ ^/_matrix/" in fault["fix"]
    assert f"proxy_set_header Host {place.name};" in fault["fix"]


def test_wrong_key(place: Place) -> None:
    place.homeserver.key = SigningKey.generate()
    status, found = place.check()
    fault = the_fault(found, f"signing key {place.name}")
    assert status == 1
    assert place.homeserver.key.key_id in fault["text"]
    assert "signingKeyPath" in fault["fix"] + fault["text"]


def test_dead_homeserver(place: Place) -> None:
    domain = {**place.server.config["homeservers"][0], "csApi": "http://127.0.0.1:9"}
    status, found = place.check({"homeservers": [domain]}, "-inside")
    subjects = {each["subject"]: each for each in found}
    assert status == 1
    assert "http://127.0.0.1:9" in subjects[f"homeserver {place.name}"]["text"]
    assert "csApi" in subjects[f"homeserver {place.name}"]["fix"]


def test_wrong_admin_kind(place: Place) -> None:
    del place.homeserver.answers["/_synapse/admin/v1/server_version"]
    _, found = place.check()
    fault = the_fault(found, f"homeserver {place.name}")
    assert "adminApiKind: matrix" in fault["fix"]


def test_wrong_bucket(place: Place) -> None:
    right, wrong = new_bucket(), "no-such-bucket"
    for bucket, is_good in ((right, True), (wrong, False)):
        store = {
            "type": "s3",
            "id": "bucket",
            "forKinds": ["archives"],
            "opts": bucket_options(bucket),
        }
        stores = [*place.server.config["datastores"], store]
        status, found = place.check({"datastores": stores}, "-inside")
        assert status == (0 if is_good else 1), found
    fault = the_fault(found, "datastore bucket")
    assert wrong in fault["text"]
    assert "datastores[].opts" in fault["fix"]


def test_read_only_folder(place: Place) -> None:
    # Even root can't make a folder there.
    store = {**place.server.config["datastores"][0], "opts": {"path": "/sys/mmr-media"}}
    status, found = place.check({"datastores": [store]}, "-inside")
    fault = the_fault(found, "datastore main")
    assert status == 1
    assert "/sys/mmr-media" in fault["text"]
    assert fault["fix"]


def test_redis_down(place: Place) -> None:
    shards = [{"name": "gone", "addr": f"127.0.0.1:{free_port()}"}]
    status, found = place.check({"redis": {"shards": shards}}, "-inside")
    fault = the_fault(found, "redis gone")
    assert status == 1
    assert "redis.shards[].addr" in fault["fix"]


def test_old_database(place: Place, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    with sqlite3.connect(old) as connection:
        connection.execute("CREATE TABLE mmr_schema_version (version, applied_ts)")
        connection.execute("INSERT INTO mmr_schema_version VALUES (2, 0)")
    connection.close()
    database = {"sqlite": str(old), "postgres": None}
    status, found = place.check({"database": database}, "-inside")
    fault = the_fault(found, "database")
    assert status == 1
    assert "version 2" in fault["text"]
    assert "restart" in fault["fix"]


def test_database_down(place: Place) -> None:
    database = {"postgres": "postgres://u:secret@127.0.0.1:9/x?sslmode=disable"}
    status, found = place.check({"database": database}, "-inside")
    fault = the_fault(found, "database")
    assert status == 1
    assert "secret" not in fault["text"]


def test_clock_skew(place: Place) -> None:
    place.homeserver.skew_s = -600
    status, found = place.check()
    fault = the_fault(found, f"clock of homeserver {place.name}")
    assert status == 1
    assert "s away from ours" in fault["text"]
    assert "set-ntp" in fault["fix"]


def test_missing_codec(place: Place, tmp_path: Path) -> None:
    types = ["image/png", "video/mp4"]
    changes = {"thumbnails": {"types": types}}
    assert place.check(changes, "-inside")[0] == 0
    status, found = place.check(changes, "-inside", PATH=str(tmp_path))
    fault = the_fault(found, "formats")
    assert status == 1
    assert "apt-get install ffmpeg" in fault["fix"]


def test_a_homeserver_that_still_has_media_is_a_warning(place: Place) -> None:
    missing_token = (401, {"errcode": "M_MISSING_TOKEN"})
    place.homeserver.answers["/_matrix/client/v1/media/config"] = missing_token
    status, found = place.check()
    assert status == 0
    (found_one,) = found
    assert found_one["level"] == "warning"
    assert "enable_media_repo: false" in found_one["fix"]


def test_a_broken_configuration_is_told(place: Place, tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("repo: {port: nine}")
    done = place.run("-config", str(config))
    assert done.returncode == 2
    assert "repo.port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_does_not_run_is_told(place: Place) -> None:
    status, found = place.check({"repo": {"port": free_port()}}, "-inside")
    fault = the_fault(found, "server")
    assert status == 1
    assert "systemctl start" in fault["fix"]
