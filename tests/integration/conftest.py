"""Servers that are stopped after each test, whatever it did to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.server import Server
from tests.postgres import create_database

MakeServer = Callable[..., Server]


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    """Make servers (not started), each with its own folder."""
    made: list[Server] = []

    def make(
        changes: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Server:
        folder = tmp_path / f"server{len(made)}"
        folder.mkdir()
        made.append(Server(folder, changes, environment))
        return made[-1]

    yield make
    for server in made:
        server.child.kill()


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    """One running server on SQLite."""
    made = make_server()
    made.start()
    return made


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, make_server: MakeServer) -> Server:
    """One server on each database engine; not started."""
    if request.param == "sqlite":
        return make_server()
    return make_server({"database": {"sqlite": None, "postgres": create_database()}})
