"""``synadm``, through the manual's nginx block, on mmr and a real Synapse."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.harness import png
from tests.integration.nginx import Nginx
from tests.integration.server import Server
from tests.integration.synapse import VENV, Synapse

pytestmark = pytest.mark.skipif(
    os.environ.get("MMR_TEST_WITHOUT_SYNAPSE") == "1",
    reason="MMR_TEST_WITHOUT_SYNAPSE=1",
)

NAME = "synapse.test"
PASSWORD = "a password"
FAR_FUTURE = "4102444800000"
ALICE = f"@alice:{NAME}"


@attrs.frozen
class Site:
    """The homeserver, mmr, the proxy in front of both, and who is signed in."""

    synapse: Synapse
    mmr: Server
    url: str
    admin: str
    alice: str
    synadm_config: Path

    def synadm(self, *arguments: str) -> Any:
        """Run it as an operator would; gives what it prints, which is JSON."""
        done = subprocess.run(
            [
                str(VENV / "bin" / "synadm"),
                "--config-file",
                str(self.synadm_config),
                "--batch",
                "--output",
                "json",
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def call(
        self, method: str, path: str, body: Any = None, token: str | None = None
    ) -> Any:
        """A client's call, through the proxy."""
        request = urllib.request.Request(
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {token or self.alice}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def upload(self, side: int) -> str:
        """Alice's picture of that size; gives its MXC URI."""
        return self.mmr.upload(
            png(side, side), "image/png", host=NAME, token=self.alice
        )

    def room_with(self, *uris: str) -> str:
        """A new room of Alice's with these pictures in it."""
        room: str = self.call("POST", "/_matrix/client/v3/createRoom", {})["room_id"]
        for number, uri in enumerate(uris):
            path = f"/_matrix/client/v3/rooms/{urllib.parse.quote(room)}/send"
            content = {"msgtype": "m.image", "body": "a picture", "url": uri}
            self.call("PUT", f"{path}/m.room.message/{number}", content)
        return room

    def status(self, uri: str) -> int:
        return self.mmr.download(uri, host=NAME, token=self.alice).status


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("synadm")
    synapse = Synapse(folder / "synapse", NAME)
    synapse.start()
    domain = {"name": NAME, "csApi": synapse.url, "adminApiKind": "synapse"}
    (folder / "mmr").mkdir()
    mmr = Server(
        folder / "mmr",
        {
            "homeservers": [domain],
            # As the manual says for who empties the cache of remote media.
            "admins": [f"@root:{NAME}"],
            "accessTokens": {"useLocalAppserviceConfig": False, "appservices": []},
        },
    )
    mmr.start()
    nginx = Nginx(folder / "nginx", NAME, mmr.port, synapse.url)
    nginx.start()
    admin = synapse.register("root", PASSWORD, admin=True)
    alice = synapse.register("alice", PASSWORD)
    config = folder / "synadm.yaml"
    config.write_text(
        "\n".join(
            (
                "user: root",
                f"token: {admin}",
                f"base_url: {nginx.url}",
                "admin_path: /_synapse/admin",
                "matrix_path: /_matrix",
                "timeout: 30",
                "server_discovery: well-known",
                f"homeserver: {NAME}",
                "format: json",
                "ssl_verify: true",
            )
        )
    )
    yield Site(synapse, mmr, nginx.url, admin, alice, config)
    nginx.stop()
    mmr.child.kill()
    synapse.stop()


def media_id(uri: str) -> str:
    return uri.rpartition("/")[2]


def test_a_users_media(site: Site) -> None:
    first, second = site.upload(41), site.upload(42)
    found = site.synadm("media", "list", "--user-id", ALICE, "--timestamp")
    assert [media["media_id"] for media in found["media"][:2]] == [
        media_id(second),
        media_id(first),
    ]
    found = site.synadm(
        "user", "media", "--sort", "media_length", "--limit", "1", "--timestamp", ALICE
    )
    assert len(found["media"]) == 1
    assert found["next_token"] == 1
    assert found["total"] >= 2


def test_users_without_media(site: Site) -> None:
    """A real Synapse says who is no user at all."""
    site.synapse.register("dora", PASSWORD)
    for name, status in (("dora", 200), ("nobody", 404)):
        path = f"/_synapse/admin/v1/users/@{name}:{NAME}/media"
        answer = site.mmr.request("GET", path, host=NAME, token=site.admin)
        assert answer.status == status, answer


def test_a_rooms_media_quarantined_and_released(site: Site) -> None:
    uris = [site.upload(43), site.upload(44)]
    room = site.room_with(*uris)
    found = site.synadm("media", "list", "--room-id", room)
    assert set(found["local"]) == set(uris)
    assert found["remote"] == []

    assert site.synadm("media", "quarantine", "--room-id", room) == {
        "num_quarantined": 2
    }
    assert [site.status(uri) for uri in uris] == [404, 404]
    for uri in uris:
        assert site.synadm("media", "unquarantine", "--mxc-uri", uri) == {}
    assert [site.status(uri) for uri in uris] == [200, 200]


def test_one_media_and_protection(site: Site) -> None:
    uri = site.upload(45)
    one = ("--server-name", NAME, "--media-id", media_id(uri))
    assert site.synadm("media", "protect", media_id(uri)) == {}
    assert site.synadm("media", "quarantine", *one) == {}
    assert site.status(uri) == 200
    path = f"/_synapse/admin/v1/media/unprotect/{media_id(uri)}"
    assert site.call("POST", path, {}, site.admin) == {}
    assert site.synadm("media", "quarantine", *one) == {}
    assert site.status(uri) == 404
    assert site.synadm("media", "unquarantine", *one) == {}
    assert site.status(uri) == 200


def test_a_users_media_quarantined(site: Site) -> None:
    bob = site.synapse.register("bob", PASSWORD)
    uri = site.mmr.upload(png(46, 46), "image/png", host=NAME, token=bob)
    found = site.synadm("media", "quarantine", "--user-id", f"@bob:{NAME}")
    assert found == {"num_quarantined": 1}
    assert site.status(uri) == 404


def test_deleting_one(site: Site) -> None:
    uri = site.upload(47)
    found = site.synadm("media", "delete", "--media-id", media_id(uri))
    assert found == {"deleted_media": [media_id(uri)], "total": 1}
    assert site.status(uri) == 404


def test_deleting_old_media_keeps_profile_pictures(site: Site) -> None:
    """A real Synapse says which those are, of users and of rooms."""
    face, door, plain = site.upload(48), site.upload(49), site.upload(50)
    user = urllib.parse.quote(ALICE)
    path = f"/_matrix/client/v3/profile/{user}/avatar_url"
    site.call("PUT", path, {"avatar_url": face})
    room = urllib.parse.quote(site.room_with())
    path = f"/_matrix/client/v3/rooms/{room}/state/m.room.avatar/"
    site.call("PUT", path, {"url": door})

    found = site.synadm("media", "delete", "--before-ts", FAR_FUTURE)

    assert media_id(plain) in found["deleted_media"]
    assert site.status(plain) == 404
    assert [site.status(uri) for uri in (face, door)] == [200, 200]
    found = site.synadm(
        "media", "delete", "--before-ts", FAR_FUTURE, "--delete-profiles"
    )
    assert {media_id(face), media_id(door)} <= set(found["deleted_media"])


def test_purging_the_cache(site: Site) -> None:
    assert site.synadm("media", "purge", "--before-ts", FAR_FUTURE) == {"deleted": 0}


def test_only_the_homeservers_admins_may(site: Site) -> None:
    """A real Synapse says who they are (R48, D15)."""
    eve = site.synapse.register("eve", PASSWORD)
    ops = site.synapse.register("ops", PASSWORD, admin=True)
    uri = site.upload(51)
    path = f"/_synapse/admin/v1/media/{uri.removeprefix('mxc://')}"
    for token, status in ((eve, 403), (ops, 200), (site.admin, 200)):
        answer = site.mmr.request("GET", path, host=NAME, token=token)
        assert answer.status == status, answer
    purge = f"/_synapse/admin/v1/purge_media_cache?before_ts={FAR_FUTURE}"
    answer = site.mmr.request("POST", purge, host=NAME, token=ops)
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


def test_what_is_not_about_media_stays_with_the_homeserver(site: Site) -> None:
    found = site.call("GET", "/_synapse/admin/v1/rooms", token=site.admin)
    assert "rooms" in found
