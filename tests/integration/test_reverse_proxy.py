"""The manual's nginx block splits the traffic where the server's routes end."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from twisted.internet.testing import MemoryReactorClock

from mmr.config import load_config
from mmr.server import MediaRepoServer

from tests.integration.nginx import manual_block

# What stays with the homeserver, or is for the operator's eyes.
_NOT_PROXIED = {"/healthz", "/healthz/ready", "/_matrix/client/versions"}


def is_for_mmr(path: str) -> bool:
    """Whether nginx sends that path to mmr."""
    patterns = re.findall(r"location ~ (\S+) \{", manual_block())
    return any(re.search(pattern, path) for pattern in patterns)


def test_every_route_of_ours_comes_to_us(tmp_path: Path) -> None:
    config = tmp_path / "mmr.yaml"
    domain = {"name": "one.test", "csApi": "http://127.0.0.1:9"}
    store = {"type": "file", "id": "x", "forKinds": ["all"], "opts": {"path": "x"}}
    config.write_text(yaml.safe_dump({"homeservers": [domain], "datastores": [store]}))
    server = MediaRepoServer(load_config([config]), MemoryReactorClock())
    paths = {re.sub("[:*]", "a", route.path) for route in server.router.routes}
    assert {path for path in paths if not is_for_mmr(path)} <= _NOT_PROXIED


def test_everything_else_stays_with_the_homeserver() -> None:
    for path in (
        "/_matrix/client/v3/sync",
        "/_matrix/client/v3/login",
        "/_matrix/client/v3/rooms/!a:one.test/send/m.room.message/1",
        "/_matrix/client/unstable/org.matrix.msc3575/sync",
        "/_matrix/federation/v1/send/1",
        "/_matrix/key/v2/server",
        "/.well-known/matrix/server",
        "/_synapse/admin/v1/rooms",
        "/_synapse/admin/v1/rooms/!a:one.test",
        "/_synapse/admin/v1/statistics/database/rooms",
        "/_synapse/admin/v1/server_version",
        "/_synapse/admin/v1/whois/@a:one.test",
        "/_synapse/admin/v2/users/@a:one.test",
        "/_synapse/admin/v1/users/@a:one.test/joined_rooms",
    ):
        assert not is_for_mmr(path), path
