"""Two mmr processes that federate over TLS, each behind an nginx of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from mmr.crypto.keys import SigningKey

from tests.integration.federation import (
    Address,
    KeyPublisher,
    mmr_settings,
    write_key,
)
from tests.integration.images import SAMPLE, size_of
from tests.integration.nginx import Nginx
from tests.integration.process import poll
from tests.integration.server import Answer, Server
from tests.postgres import create_database

LARGE = os.urandom(1 << 20) * 20
_DOWNLOAD = "/_matrix/client/v1/media/download"
_THUMBNAIL = "/_matrix/client/v1/media/thumbnail"


@attrs.frozen
class Site:
    """A homeserver's name, its mmr and what stands in front."""

    address: Address
    mmr: Server
    front: Nginx
    publisher: KeyPublisher

    @property
    def name(self) -> str:
        return self.address.name

    def request(self, method: str, path: str, **more: Any) -> Answer:
        return self.mmr.request(method, path, host=self.name, **more)

    def upload(self, data: bytes, content_type: str = "image/jpeg") -> str:
        """Upload and give `server/media-id`."""
        mxc = self.mmr.upload(data, content_type, host=self.name)
        return mxc.removeprefix("mxc://")

    def stop(self) -> None:
        self.front.stop()
        self.mmr.child.kill()
        self.publisher.stop()


def make_site(
    folder: Path,
    key: SigningKey,
    *,
    published: SigningKey | None = None,
    changes: dict[str, Any] | None = None,
) -> Site:
    folder.mkdir()
    address = Address(folder)
    publisher = KeyPublisher(address.name, published or key)
    settings = mmr_settings(address, publisher.url, write_key(folder, key))
    mmr = Server(folder, {**settings, **(changes or {})})
    appservice = mmr.config["accessTokens"]["appservices"][0]
    appservice["senderUserId"] = f"@tests:{address.name}"
    mmr.write_config()
    front = address.front(mmr.port, publisher.url)
    mmr.start()
    front.start()
    return Site(address, mmr, front, publisher)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """One on SQLite, one on PostgreSQL."""
    folder = tmp_path_factory.mktemp("sites")
    one = make_site(folder / "one", SigningKey("one", b"1" * 32))
    database = {"database": {"sqlite": None, "postgres": create_database()}}
    two = make_site(folder / "two", SigningKey("two", b"2" * 32), changes=database)
    yield one, two
    one.stop()
    two.stop()


def test_media_travel_both_ways(sites: tuple[Site, Site]) -> None:
    for here, there in (sites, sites[::-1]):
        for data in (b"small" * 50, SAMPLE.read_bytes(), LARGE):
            key = there.upload(data)
            for _ in range(2):
                answer = here.request("GET", f"{_DOWNLOAD}/{key}")
                assert answer.status == 200, answer.body[:300]
                assert answer.body == data
                assert answer.headers["Content-Type"] == "image/jpeg"
        # Its access log has the name that the other side has proven, once.
        media_id = key.partition("/")[2]
        line = re.compile(f"{{{here.name}}}.*/v1/media/download/{media_id}")
        poll(
            lambda line=line, log=there.mmr.child.log_text: bool(
                line.search(log(100_000))
            ),
            "the access log",
            10,
        )
        assert len(line.findall(there.mmr.child.log_text(100_000))) == 1


def test_thumbnails_of_remote_media(sites: tuple[Site, Site]) -> None:
    here, there = sites
    key = there.upload(SAMPLE.read_bytes() + b"\0")
    query = "?width=320&height=240&method=scale"
    answer = here.request("GET", f"{_THUMBNAIL}/{key}{query}")
    assert answer.status == 200, answer.body[:300]
    assert size_of(answer.body) == (320, 240)


def test_what_is_not_there(sites: tuple[Site, Site]) -> None:
    here, there = sites
    answer = here.request("GET", f"{_DOWNLOAD}/{there.name}/unknown")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    assert "at step 'answer': 404 'M_NOT_FOUND'" in here.mmr.child.log_text(100_000)


def test_strangers_do_not_make_us_ask(sites: tuple[Site, Site]) -> None:
    """R41."""
    here, there = sites
    key = there.upload(b"not for strangers" * 20)
    path = f"/_matrix/media/v3/download/{key}"
    assert here.request("GET", path, token="").status == 404
    asked = f"federation/v1/media/download/{key.partition('/')[2]}"
    assert asked not in there.mmr.child.log_text(100_000)


def test_both_keys_are_those_that_are_published(sites: tuple[Site, Site]) -> None:
    """R60: nothing is said when all is well."""
    for site in sites:
        assert "signing.key" not in site.mmr.child.log_text(1_000_000)


def test_a_key_that_is_not_the_published_one(
    sites: tuple[Site, Site], tmp_path: Path
) -> None:
    """R60: said at the start; the other side refuses, and clients get an error."""
    _, there = sites
    wrong = make_site(
        tmp_path / "wrong",
        SigningKey("wrong", b"w" * 32),
        published=SigningKey("right", b"r" * 32),
    )
    try:
        file = str(wrong.address.folder / "signing.key")
        poll(lambda: file in wrong.mmr.child.log_text(), "the finding", 20)
        log = wrong.mmr.child.log_text()
        assert "ed25519:wrong isn't published" in log
        assert "ed25519:right" in log
        assert "Other servers will refuse our requests" in log
        key = there.upload(b"for those who prove themselves" * 20)
        answer = wrong.request("GET", f"{_DOWNLOAD}/{key}")
        assert (answer.status, answer.json["errcode"]) == (502, "M_UNKNOWN")
        assert "at step 'answer': 401" in wrong.mmr.child.log_text(100_000)
    finally:
        wrong.stop()


def test_an_admin_sees_each_step(sites: tuple[Site, Site]) -> None:
    here, there = sites
    here.mmr.write_config({"admins": [f"@tests:{here.name}"]})
    here.mmr.reload()
    path = f"/_matrix/media/unstable/admin/federation/test/{there.name}"
    poll(lambda: here.request("GET", path).status == 200, "the reload", 20)
    found = here.request("GET", path).json
    assert found["base_url"] == f"https://{there.name}"
    assert found["steps"] == [{"step": "IP literal", "result": there.name}]
