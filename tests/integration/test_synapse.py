"""Behind a real homeserver: its users, with a real client library."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.images import SAMPLE, size_of
from tests.integration.nginx import Nginx
from tests.integration.server import Server
from tests.integration.synapse import PYTHON, Synapse
from tests.postgres import create_database

pytestmark = pytest.mark.skipif(
    os.environ.get("MMR_TEST_WITHOUT_SYNAPSE") == "1",
    reason="MMR_TEST_WITHOUT_SYNAPSE=1",
)

NAME = "synapse.test"
PASSWORD = "a password"


@pytest.fixture(scope="module")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    """A homeserver that leaves media to mmr."""
    homeserver = Synapse(tmp_path_factory.mktemp("synapse"), NAME)
    homeserver.start()
    yield homeserver
    homeserver.stop()


@pytest.fixture(scope="module")
def mmr(tmp_path_factory: pytest.TempPathFactory, synapse: Synapse) -> Iterator[Server]:
    """mmr on PostgreSQL, asking that homeserver who is calling."""
    server = Server(
        tmp_path_factory.mktemp("mmr"),
        {
            "database": {"sqlite": None, "postgres": create_database()},
            "homeservers": [{"name": NAME, "csApi": synapse.url}],
            "accessTokens": {"useLocalAppserviceConfig": False, "appservices": []},
        },
    )
    server.start()
    yield server
    server.child.kill()


@pytest.fixture(scope="module")
def proxy(
    tmp_path_factory: pytest.TempPathFactory, synapse: Synapse, mmr: Server
) -> Iterator[Nginx]:
    """One address for both, by the manual's own nginx block."""
    nginx = Nginx(
        tmp_path_factory.mktemp("proxy") / "nginx", NAME, mmr.port, synapse.url
    )
    nginx.start()
    yield nginx
    nginx.stop()


@pytest.fixture(scope="module")
def report(synapse: Synapse, proxy: Nginx) -> dict[str, Any]:
    """What a user got who uploaded a picture with matrix-nio, and logged out."""
    synapse.register("alice", PASSWORD)
    script = Path(__file__).with_name("nio_client.py")
    user = f"@alice:{NAME}"
    done = subprocess.run(
        [str(PYTHON), str(script), proxy.url, user, PASSWORD, str(SAMPLE)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_user_uploads_and_downloads(report: dict[str, Any]) -> None:
    assert report["user_id"] == f"@alice:{NAME}"
    assert report["content_uri"].startswith(f"mxc://{NAME}/")
    assert base64.b64decode(report["download"]) == SAMPLE.read_bytes()
    assert report["download_type"] == "image/jpeg"
    assert report["download_name"] == "sample.jpg"


def test_a_user_gets_a_thumbnail(report: dict[str, Any]) -> None:
    assert size_of(base64.b64decode(report["thumbnail"])) == (320, 240)


def test_a_user_sees_the_limit(report: dict[str, Any]) -> None:
    assert report["upload_limit"] == 104857600


def test_logging_out_ends_the_token_at_once(
    report: dict[str, Any], mmr: Server
) -> None:
    """The proxied logout clears the cache, which would hold for an hour."""
    assert report["logout"] == "LogoutResponse"
    answer = mmr.download(report["content_uri"], host=NAME, token=report["token"])
    assert (answer.status, answer.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")


def test_media_belong_to_mmr_alone(mmr: Server, report: dict[str, Any]) -> None:
    assert mmr.objects()


def test_another_user_may_download_and_a_stranger_may_not(
    synapse: Synapse, mmr: Server, report: dict[str, Any]
) -> None:
    token = synapse.register("bob", PASSWORD)
    mxc = report["content_uri"]
    assert mmr.download(mxc, host=NAME, token=token).body == SAMPLE.read_bytes()
    unknown = mmr.download(mxc, host=NAME, token="syt_made_up")
    assert (unknown.status, unknown.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    missing = mmr.download(mxc, host=NAME, token="")
    assert (missing.status, missing.json["errcode"]) == (401, "M_MISSING_TOKEN")
    path = mxc.removeprefix("mxc://")
    frozen = mmr.request(
        "GET", f"/_matrix/media/v3/download/{path}", host=NAME, token=""
    )
    assert (frozen.status, frozen.json["errcode"]) == (404, "M_NOT_FOUND")


def test_a_homeserver_that_is_down_is_no_bad_token(
    synapse: Synapse, mmr: Server, report: dict[str, Any]
) -> None:
    """Clients log out on M_UNKNOWN_TOKEN: an outage must look otherwise."""
    synapse.stop()
    try:
        answer = mmr.download(report["content_uri"], host=NAME, token="syt_other")
        assert answer.status in {502, 503, 504}
        assert answer.json["errcode"] == "M_UNKNOWN"
    finally:
        synapse.start()
