"""The walk-through of docs/migrating-from-synapse.md, under a client that goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import MakeServer
from tests.integration.moving import command
from tests.integration.nginx import Nginx, manual_block
from tests.integration.server import SERVER_NAME, Answer, Server, http_request
from tests.integration.synapse_media import FilledSynapse

MEDIA = "/_matrix/client/v1/media"
# mmr takes no smaller ones unless it is told to.
NEW = b"new and mmr's" * 20


class Front:
    """What clients see: nginx, mmr and Synapse, as in step 3 of the page."""

    def __init__(self, old: FilledSynapse, server: Server, folder: Path) -> None:
        self.old = old
        self.server = server
        block = manual_block("migrating-from-synapse.md")
        synapse = f"127.0.0.1:{old.synapse.port}"
        self.nginx = Nginx(
            folder,
            SERVER_NAME,
            server.port,
            old.synapse.url,
            first=block.replace("127.0.0.1:8008", synapse),
        )

    def request(self, method: str, path: str, body: bytes = b"") -> Answer:
        headers = {"Authorization": f"Bearer {self.old.alice}"}
        return http_request(self.nginx.port, method, path, body, headers)

    def check_all(self) -> int:
        """Download everything; returns how much of it Synapse answered."""
        by_synapse = 0
        for stored in self.old.media:
            path = stored.mxc.removeprefix("mxc://")
            answer = self.request("GET", f"{MEDIA}/download/{path}")
            if stored.is_quarantined:
                assert answer.status in (403, 404), (stored, answer)
            else:
                assert (answer.status, answer.body) == (200, stored.content), stored
                # nginx hides who it was, but Synapse has one ETag for everything.
                by_synapse += answer.headers["ETag"] == "1"
        return by_synapse


@pytest.fixture
def front(tmp_path: Path, make_server: MakeServer) -> Iterator[Front]:
    old = FilledSynapse(tmp_path / "old", None)
    old.start()
    homeserver = {"name": SERVER_NAME, "csApi": old.synapse.url}
    server = make_server({"homeservers": [homeserver]})
    made = Front(old, server, tmp_path / "nginx")
    yield made
    made.nginx.stop()
    old.synapse.stop()


def test_no_download_fails_while_everything_moves(front: Front) -> None:
    front.old.fill()
    front.server.start()
    front.nginx.start()
    visible = sum(not stored.is_quarantined for stored in front.old.media)
    assert front.check_all() == visible, "Synapse has it all"

    uploaded = front.request("POST", "/_matrix/media/v3/upload", NEW)
    new = uploaded.json["content_uri"].removeprefix("mxc://")
    flags = ("--homeserver-config", front.old.config, "--remote", "-workers", 1)
    words = command("import_synapse", "-config", front.server.config_path, *flags)
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        while child.poll() is None:
            front.check_all()
    finally:
        child.kill()
    assert child.wait() == 0
    assert front.check_all() == 0, "mmr has it all"
    answer = front.request("GET", f"{MEDIA}/download/{new}")
    assert (answer.status, answer.body) == (200, NEW)
    picture = front.old.media[0].mxc.removeprefix("mxc://")
    sized = f"{MEDIA}/thumbnail/{picture}?width=96&height=96&method=crop"
    assert front.request("GET", sized).status == 200
