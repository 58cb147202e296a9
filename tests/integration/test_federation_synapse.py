"""Federation with a real Synapse: its media here, and our media there.

Three processes beside nginx: a Synapse with media of its own; mmr; and the Synapse
whose media are mmr's work, whose signing key mmr uses as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import attrs
import pytest

from tests.integration.federation import (
    Address,
    FederatingSynapse,
    mmr_settings,
)
from tests.integration.images import SAMPLE, size_of
from tests.integration.nginx import Nginx
from tests.integration.process import poll
from tests.integration.server import Answer, Server, http_request
from tests.postgres import create_database

pytestmark = pytest.mark.skipif(
    os.environ.get("MMR_TEST_WITHOUT_SYNAPSE") == "1",
    reason="MMR_TEST_WITHOUT_SYNAPSE=1",
)

PASSWORD = "a password"
LARGE = os.urandom(1 << 20) * 20
_DOWNLOAD = "/_matrix/client/v1/media/download"
_THUMBNAIL = "/_matrix/client/v1/media/thumbnail"
_SIZE = "?width=320&height=240&method=scale"


@attrs.frozen
class Homeserver:
    """One side: a Synapse, its front, and a user's token."""

    synapse: FederatingSynapse
    front: Nginx
    token: str
    mmr: Server | None = None

    @property
    def name(self) -> str:
        return self.synapse.server_name

    def request(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """As the user's client makes it, past the TLS of the front."""
        port = self.synapse.port if self.mmr is None else self.mmr.port
        headers = {
            "Host": self.name,
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "image/jpeg",
        }
        return http_request(port, method, path, body, headers)

    def upload(self, data: bytes) -> str:
        """Upload and give `server/media-id`."""
        answer = self.request("POST", "/_matrix/media/v3/upload?filename=a.jpg", data)
        assert answer.status == 200, answer
        return str(answer.json["content_uri"]).removeprefix("mxc://")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homeserver]:
    """A Synapse with media of its own."""
    address = Address(tmp_path_factory.mktemp("theirs"))
    synapse = FederatingSynapse(address, with_media=True)
    front = address.front(None, synapse.url)
    synapse.start()
    front.start()
    yield Homeserver(synapse, front, synapse.register("bob", PASSWORD))
    front.stop()
    synapse.stop()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homeserver]:
    """A Synapse whose media are mmr's."""
    address = Address(tmp_path_factory.mktemp("ours"))
    synapse = FederatingSynapse(address, with_media=False)
    synapse.start()
    settings = mmr_settings(address, synapse.url, synapse.key_file)
    mmr = Server(
        address.folder,
        {
            **settings,
            "database": {"sqlite": None, "postgres": create_database()},
            "accessTokens": {"useLocalAppserviceConfig": False, "appservices": []},
        },
    )
    front = address.front(mmr.port, synapse.url)
    mmr.start()
    front.start()
    yield Homeserver(synapse, front, synapse.register("alice", PASSWORD), mmr)
    front.stop()
    mmr.child.kill()
    synapse.stop()


def test_our_key_is_the_homeservers_own(ours: Homeserver) -> None:
    """R60: read as Synapse keeps it, found as Synapse publishes it."""
    assert ours.mmr is not None
    log = ours.mmr.child.log_text(1_000_000)
    for fault in ("published", "could not be compared", "is not set"):
        assert fault not in log


def test_their_media_here(ours: Homeserver, theirs: Homeserver) -> None:
    for data in (SAMPLE.read_bytes(), LARGE):
        key = theirs.upload(data)
        for _ in range(2):
            answer = ours.request("GET", f"{_DOWNLOAD}/{key}")
            assert answer.status == 200, answer.body[:300]
            assert answer.body == data
            assert answer.headers["Content-Type"] == "image/jpeg"
            assert "a.jpg" in answer.headers["Content-Disposition"]


def test_their_thumbnails_here(ours: Homeserver, theirs: Homeserver) -> None:
    key = theirs.upload(SAMPLE.read_bytes() + b"\0")
    answer = ours.request("GET", f"{_THUMBNAIL}/{key}{_SIZE}")
    assert answer.status == 200, answer.body[:300]
    assert size_of(answer.body) == (320, 240)


def test_our_media_there(ours: Homeserver, theirs: Homeserver) -> None:
    for data in (SAMPLE.read_bytes(), LARGE):
        key = ours.upload(data)
        answer = theirs.request("GET", f"{_DOWNLOAD}/{key}")
        assert answer.status == 200, (answer.body[:300], theirs.synapse.log_text())
        assert answer.body == data
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert "a.jpg" in answer.headers["Content-Disposition"]


def test_our_thumbnails_there(ours: Homeserver, theirs: Homeserver) -> None:
    key = ours.upload(SAMPLE.read_bytes() + b"\1")
    answer = theirs.request("GET", f"{_THUMBNAIL}/{key}{_SIZE}")
    assert answer.status == 200, (answer.body[:300], theirs.synapse.log_text())
    assert size_of(answer.body) == (320, 240)


def test_what_is_not_there(ours: Homeserver, theirs: Homeserver) -> None:
    for here, there in ((ours, theirs), (theirs, ours)):
        answer = here.request("GET", f"{_DOWNLOAD}/{there.name}/unknown")
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


def test_they_have_proven_who_they_are(ours: Homeserver, theirs: Homeserver) -> None:
    assert ours.mmr is not None
    log = ours.mmr.child.log_text
    poll(lambda: f"{{{theirs.name}}}" in log(1_000_000), "the access log", 10)
