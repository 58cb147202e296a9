"""Two homeservers in one process, told apart by Host."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import MakeServer
from tests.integration.server import Server


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    """A server whose configuration is a folder: main, and one file a homeserver."""
    made = make_server({"homeservers": []})
    folder = made.folder / "config.d"
    folder.mkdir()
    made.config_path.rename(folder / "00-main.yaml")
    appservice = made.config["accessTokens"]["appservices"][0]
    for name, limit in (("one.test", 10_000), ("two.test", 1000)):
        sender = {**appservice, "senderUserId": f"@tests:{name}"}
        domain = {
            "homeserver": name,
            "csApi": "http://127.0.0.1:9",
            "uploads": {"maxBytes": limit},
            "accessTokens": {"appservices": [sender]},
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(domain))
    made.config_path = Path(folder)
    made.child._arguments[-1] = str(folder)
    made.start()
    return made


def test_each_host_has_its_own_origin_and_limits(server: Server) -> None:
    assert server.upload(b"x" * 5000, host="one.test").startswith("mxc://one.test/")
    assert server.upload(b"y" * 500, host="two.test:8448").startswith("mxc://two.test/")
    assert server.upload(b"z" * 500, host="TWO.test").startswith("mxc://two.test/")
    upload = "/_matrix/media/v3/upload"
    refused = server.request("POST", upload, b"x" * 5000, host="two.test")
    assert (refused.status, refused.json["errcode"]) == (413, "M_TOO_LARGE")


def test_media_of_one_are_served_by_the_other(server: Server) -> None:
    mxc = server.upload(b"x" * 5000, host="one.test")
    assert server.download(mxc, host="two.test").body == b"x" * 5000


def test_an_unknown_host_is_refused_and_logged(server: Server) -> None:
    answer = server.request("GET", "/_matrix/media/version", host="three.test")
    assert (answer.status, answer.json["errcode"]) == (502, "M_UNKNOWN")
    assert "three.test" in server.child.log_text()
    assert server.request("GET", "/healthz", host="three.test").status == 200
