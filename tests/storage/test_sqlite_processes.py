"""Several processes on one SQLite file: a server, and a program beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mmr.storage.engines.sqlite import SqliteEngine

_LOOK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM written").fetchone()[0])
connection.close()
"""


def look(path: Path) -> str:
    """Another program opens the file, counts, and closes it."""
    command = [sys.executable, "-c", _LOOK, str(path)]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def test_a_program_beside_the_server_takes_nothing_away(tmp_path: Path) -> None:
    """R93. The last one who closes a database removes its log. A program must see that
    it isn't the last, even after the server has opened further connections.
    """
    path = tmp_path / "mmr.db"
    engine = SqliteEngine(path)
    first = engine.connect()
    first.execute("CREATE TABLE written (number INTEGER)")
    second = engine.connect()
    for number in range(3):
        assert look(path) == str(number)
        first.execute("INSERT INTO written VALUES (?)", (number,))
        assert look(path) == str(number + 1)
        assert second.execute("SELECT count(*) FROM written").fetchone() == (
            number + 1,
        )
    third = engine.connect()
    assert look(path) == "3"
    for connection in (first, second, third):
        connection.close()
    assert look(path) == "3"


def test_the_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "mmr.db"
    SqliteEngine(path).connect().close()
    assert path.stat().st_mode & 0o777 == 0o600
