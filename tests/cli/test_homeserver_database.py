"""Another server's database is named on the command line as MMR's programs do it."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import sys
from pathlib import Path

import pytest

from mmr.cli.arguments import Arguments
from mmr.cli.homeserver_database import add_database_flags, open_database
from mmr.errors import StartupError
from mmr.interop.foreign_database import ForeignDatabase

from tests.postgres import shared_cluster

ROOT = Path(__file__).resolve().parents[2]


def opened(*arguments: str) -> ForeignDatabase:
    parser = Arguments("program", "does things", "")
    add_database_flags(parser, "synapse")
    return open_database(parser.parse_args(arguments))


def name_of(database: ForeignDatabase) -> str:
    try:
        return str(database.rows("SELECT current_database()")[0][0])
    finally:
        database.close()


def test_mmrs_flags_lead_to_a_database() -> None:
    url = shared_cluster().create_database()
    name = url.rpartition("/")[2].partition("?")[0]
    port = str(shared_cluster().port)
    flags = ["-dbHost=127.0.0.1", "-dbPort", port, "--dbUsername", "mmr"]
    flags += ["-dbPassword", "a pass'word with $%", "-dbName", name]
    assert name_of(opened(*flags)) == name


def test_an_address_leads_to_a_database() -> None:
    url = shared_cluster().create_database()
    assert (
        name_of(opened("--database", url)) == url.rpartition("/")[2].partition("?")[0]
    )


def test_a_file_is_named_in_one_word(tmp_path: Path) -> None:
    (tmp_path / "homeserver.db").touch()
    opened("-database", f"sqlite:{tmp_path}/homeserver.db").close()
    opened("-database", f"sqlite://{tmp_path}/homeserver.db").close()


@pytest.mark.parametrize("address", ["homeserver.db", "mysql://host/name"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(StartupError, match="expected sqlite:PATH or postgres"):
        opened("-database", address)


def test_a_broken_address_is_refused_without_showing_it() -> None:
    with pytest.raises(StartupError) as caught:
        opened("-database", "postgres://user:hunter2@host:notaport:x/[")
    assert "hunter2" not in str(caught.value)


def test_nobody_to_ask_for_the_password_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(StartupError, match="set PGPASSWORD, or give -dbPassword"):
        opened()


def test_the_password_of_the_environment_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    with pytest.raises(StartupError, match="refused"):
        opened("-dbHost", "127.0.0.1", "-dbPort", "1")


def test_a_terminal_is_asked_for_the_password() -> None:
    """The real prompt, on a terminal of the test's own."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.pop("PGPASSWORD", None)
        code = (
            "from tests.cli.test_homeserver_database import opened\n"
            "try: opened('-dbHost', '127.0.0.1', '-dbPort', '1', '-dbUsername', 'me')\n"
            "except Exception as error: print(error)"
        )
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", code])
    shown = b""
    with open(terminal, "rb+", buffering=0) as file:
        while not shown.endswith(b"Password of the PostgreSQL user me: "):
            shown += file.read(1)
        file.write(b"hunter2\n")
        with contextlib.suppress(OSError):  # The terminal ends with the program.
            while more := file.read(1024):
                shown += more
    os.waitpid(pid, 0)
    assert b"refused" in shown
    assert b"hunter2" not in shown
