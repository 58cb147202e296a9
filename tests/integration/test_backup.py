"""The manual's page on backups, followed to the letter while clients upload."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.integration.conftest import MakeServer
from tests.integration.process import poll
from tests.integration.server import Server
from tests.postgres import create_database

PAGE = Path(__file__).resolve().parents[2] / "docs" / "backup.md"
# What the page calls the database, and its copy.
_DUMP, _RESTORE = "pg_dump -Fc mmr > mmr.dump", "pg_restore -d mmr mmr.dump"
_SQLITE = 'sqlite3 mmr.db ".backup mmr-backup.db"'


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fsck(server: Server, *options: str) -> tuple[int, list[list[str]]]:
    """Exit status and findings."""
    program = [Path(sys.executable).with_name("mmr-fsck"), "-config"]
    command = [*program, server.config_path, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, [line.split("\t") for line in done.stdout.splitlines()]


@contextlib.contextmanager
def uploading(server: Server) -> Iterator[dict[str, bytes]]:
    """Upload without a pause; what was acknowledged is in the mapping."""
    acknowledged: dict[str, bytes] = {}
    ended = threading.Event()

    def go_on() -> None:
        for number in itertools.count():
            if ended.is_set():
                return
            data = b"%d " % number * 5000
            acknowledged[server.upload(data)] = data

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield acknowledged
    finally:
        ended.set()
        thread.join()


def back_up_database(server: Server, folder: Path) -> None:
    page = PAGE.read_text()
    if url := server.config["database"].get("postgres"):
        assert _DUMP in page
        run("pg_dump", "-Fc", "-f", folder / "mmr.dump", url)
    else:
        assert _SQLITE in page
        command = f".backup {folder / 'mmr-backup.db'}"
        run("sqlite3", server.config["database"]["sqlite"], command)


def back_up_files(server: Server, folder: Path) -> None:
    """Files that are being written have no meaning yet: the page leaves them out."""
    assert "rsync -a --exclude=/.mmr-tmp" in PAGE.read_text()
    unfinished = shutil.ignore_patterns(".mmr-tmp")
    shutil.copytree(server.media, folder / "media", ignore=unfinished)


def restore(old: Server, backup: Path, make_server: MakeServer) -> Server:
    """A new machine: another folder, another port, another database."""
    if old.config["database"].get("postgres"):
        assert _RESTORE in PAGE.read_text()
        url = create_database()
        run("pg_restore", "-d", url, backup / "mmr.dump")
        new = make_server({"database": {"sqlite": None, "postgres": url}})
    else:
        new = make_server()
        shutil.copy(backup / "mmr-backup.db", new.config["database"]["sqlite"])
    shutil.copytree(backup / "media", new.media)
    new.write_config({"accessTokens": old.config["accessTokens"]})
    new.token = old.token
    return new


def test_a_backup_under_uploads_has_all_that_its_database_names(
    engine: Server, make_server: MakeServer, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    backup.mkdir()
    engine.start()
    with uploading(engine) as acknowledged:
        poll(lambda: len(acknowledged) > 20, "uploads", 30)
        before = dict(acknowledged)
        back_up_database(engine, backup)
        count = len(acknowledged)
        poll(lambda: len(acknowledged) > count + 5, "uploads in between", 30)
        back_up_files(engine, backup)
    engine.stop()

    new = restore(engine, backup, make_server)
    status, findings = fsck(new)
    # Files of uploads that the database's copy is too old for, and nothing else.
    assert status == 1
    assert {finding[0] for finding in findings} == {"unreferenced"}
    assert fsck(new, "-deleteUnreferenced")[0] == 0
    assert fsck(new, "-verify") == (0, [])
    new.start()
    for mxc, data in before.items():
        answer = new.download(mxc)
        assert (answer.status, answer.body) == (200, data)
    assert any(new.download(mxc).status == 404 for mxc in acknowledged)
    assert new.download(new.upload(b"goes on" * 20)).body == b"goes on" * 20


def test_a_backup_in_the_wrong_order_is_noticed(
    server: Server, make_server: MakeServer, tmp_path: Path
) -> None:
    """What the page warns of, and that `mmr-fsck` tells what was lost."""
    backup = tmp_path / "backup"
    backup.mkdir()
    kept = server.upload(b"kept" * 40)
    back_up_files(server, backup)
    lost = server.upload(b"lost" * 40)
    back_up_database(server, backup)
    server.stop()

    new = restore(server, backup, make_server)
    status, findings = fsck(new)
    assert status == 1
    [missing] = findings
    assert missing[0] == "missing"
    assert lost in missing
    new.start()
    assert new.download(kept).body == b"kept" * 40
    assert new.download(lost).status == 404
