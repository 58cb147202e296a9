"""``REPO_CONFIG``, ``MACHINE_ID``, and what a reload can't apply."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmr.config import config_paths, machine_id, restart_needed
from mmr.errors import ConfigError

from tests.config.files import load


def test_the_environment_wins_over_the_flags() -> None:
    flags = [Path("a"), Path("b")]
    assert config_paths(flags, {"REPO_CONFIG": "/etc/mmr"}) == [Path("/etc/mmr")]
    assert config_paths(flags, {"REPO_CONFIG": ""}) == flags
    assert config_paths([], {}) == [Path("media-repo.yaml")]


@pytest.mark.parametrize(
    ("text", "number"), [("", 0), ("0", 0), ("7", 7), ("1023", 1023), (" 5 ", 5)]
)
def test_a_machine_id(text: str, number: int) -> None:
    assert machine_id({"MACHINE_ID": text}) == number


def test_the_machine_id_is_0_when_nothing_is_said() -> None:
    assert machine_id({}) == 0


@pytest.mark.parametrize("text", ["1024", "-1", "x", "1.0", "٣", "99999999999"])
def test_a_wrong_machine_id_stops_the_start(text: str) -> None:
    with pytest.raises(ConfigError, match=r"MACHINE_ID: found .*, expected a whole"):
        machine_id({"MACHINE_ID": text})


def test_only_some_changes_need_a_restart(tmp_path: Path) -> None:
    old = load(tmp_path, "repo: {port: 1}\nuploads: {maxBytes: 1}")
    new = load(
        tmp_path,
        """\
        repo: {port: 2, useForwardedHost: false}
        uploads: {maxBytes: 2}
        database: {pool: {maxConnections: 3}}
        plugins: [{exec: /x}]
        """,
    )
    assert restart_needed(old, new) == ["repo.port", "database.pool.maxConnections"]
    assert restart_needed(old, old) == []
