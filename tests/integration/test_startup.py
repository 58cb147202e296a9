"""A server that cannot work says why in one line and ends."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import MakeServer
from tests.integration.server import Server


def refusal(server: Server) -> str:
    """Start what must not start; returns what it printed."""
    status, output = server.run_to_its_end()
    assert status == 1, output
    assert "Traceback" not in output
    return output


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"uploads": {"maxBytes": "many"}}, ["mmr.yaml", "uploads.maxBytes", "many"]),
        ({"repo": {"port": 99999}}, ["mmr.yaml", "repo.port", "99999"]),
        (
            {
                "homeservers": [
                    {"name": "one.test", "csApi": "http://127.0.0.1:9"},
                    {"name": "one.test", "csApi": "http://127.0.0.1:9"},
                ]
            },
            ["mmr.yaml", "homeservers[1].name", "a homeserver of this name"],
        ),
        (
            {"datastores": [{"type": "file", "id": "x", "forKinds": ["films"]}]},
            ["mmr.yaml", "datastores[0].forKinds", "films", "local_media"],
        ),
        (
            {"datastores": [{"type": "tape", "id": "x", "forKinds": ["all"]}]},
            ["mmr.yaml", "datastores", "tape"],
        ),
    ],
)
def test_a_wrong_value_is_told_with_file_and_key(
    make_server: MakeServer, changes: dict[str, Any], told: list[str]
) -> None:
    output = refusal(make_server(changes))
    assert [word for word in told if word not in output] == [], output


def test_yaml_that_is_none_is_told_with_its_place(make_server: MakeServer) -> None:
    server = make_server()
    server.config_path.write_text("repo:\n  port: [\n")
    assert "mmr.yaml" in refusal(server)


def test_a_missing_file_is_told(make_server: MakeServer) -> None:
    server = make_server()
    server.config_path.unlink()
    assert str(server.config_path) in refusal(server)


def test_a_folder_that_can_not_be_used_is_told(make_server: MakeServer) -> None:
    store = {"type": "file", "id": "attic", "forKinds": ["all"]}
    store |= {"opts": {"path": "/dev/null/media"}}
    output = refusal(make_server({"datastores": [store]}))
    for word in ("'attic'", "/dev/null/media", "opts.path", "Not a directory"):
        assert word in output


def test_a_port_in_use_is_told(make_server: MakeServer) -> None:
    server = make_server()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.port))
        taken.listen()
        assert str(server.port) in refusal(server)


def test_an_unreachable_database_is_told(make_server: MakeServer) -> None:
    url = "postgresql://mmr:secret@127.0.0.1:9/mmr"
    output = refusal(make_server({"database": {"sqlite": None, "postgres": url}}))
    assert "database" in output.lower()
    assert "secret" not in output


def test_a_datastore_that_is_in_use_must_be_configured(server: Server) -> None:
    server.upload(b"x" * 5000)
    server.stop()
    datastores = [{**server.config["datastores"][0], "id": "other"}]
    server.write_config({"datastores": datastores})
    assert "main" in refusal(server)


def test_a_database_newer_than_the_code_is_refused(server: Server) -> None:
    """R103."""
    server.stop()
    raise_schema_version(server.folder / "mmr.db")
    assert "newer" in refusal(server)


def test_the_start_says_what_decoders_may_do(server: Server) -> None:
    """R35: and which formats can be drawn (issue 4)."""
    log = server.child.log_text(100_000)
    assert "Decoding workers are confined: memory 1024 MiB" in log
    assert "Optional formats for thumbnails: " in log


def raise_schema_version(database: Path) -> None:
    """Pretend that a later release has upgraded the database."""
    with sqlite3.connect(database) as connection:
        connection.execute(
            "INSERT INTO mmr_schema_version (version, applied_ts)"
            " SELECT MAX(version) + 1, 0 FROM mmr_schema_version"
        )
    connection.close()


def test_the_configuration_can_be_checked_without_starting(server: Server) -> None:
    arguments = [*server.child._arguments, "--check-config"]
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
