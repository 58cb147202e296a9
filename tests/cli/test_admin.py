"""``mmr-admin``, run as a program against a server that runs as a program."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from mmr.cli.administration.tables import printable, readable_size, readable_time

from tests.harness import png
from tests.integration.process import poll
from tests.integration.server import SERVER_NAME, Server

ROOT = Path(__file__).parents[2]
SECRET = "a-shared-secret-of-some-length"
USER = f"@tests:{SERVER_NAME}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("admin")
    stores = [
        {
            "type": "file",
            "id": name,
            "forKinds": kinds,
            "opts": {"path": str(folder / name)},
        }
        for name, kinds in (("main", ["all"]), ("shelf", ["archives"]))
    ]
    made = Server(
        folder,
        {
            "sharedSecretAuth": {"enabled": True, "token": SECRET},
            "datastores": stores,
            "uploads": {"minBytes": 0},
        },
    )
    made.start()
    yield made
    made.child.kill()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mmr.cli.admin", *arguments]


def run(
    server: Server, *arguments: str, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """The exit status, and all that is said."""
    done = subprocess.run(
        command("-c", str(server.config_path), *arguments),
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stdout, done.stdout
    return done.returncode, done.stdout


def run_on_terminal(server: Server, *arguments: str, typed: bytes = b"") -> str:
    """What somebody sees who runs it by hand."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        command("-c", str(server.config_path), *arguments),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    os.write(leader, typed)
    seen = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:  # EIO: the terminal's way to say that everybody left.
            break
        if not piece:
            break
        seen += piece
    os.close(leader)
    assert child.wait(60) == 0, seen
    return seen.decode().replace("\r\n", "\n")


def rows(said: str) -> list[list[str]]:
    return [line.split("\t") for line in said.splitlines()]


@pytest.fixture
def media(server: Server) -> Iterator[str]:
    """A media that the test may do anything to."""
    uri = server.upload(png(50, 60), "image/png")
    yield uri
    run(server, "unquarantine", "media", uri)
    run(server, "purge", "media", uri, "--yes")


def status(server: Server, uri: str) -> int:
    return server.download(uri).status


def test_usage(server: Server, media: str) -> None:
    code, said = run(server, "usage")
    assert code == 0
    table = rows(said)
    assert table[0] == ["what", "count", "size"]
    assert table[1][:2] == ["media", "1"]
    size = table[1][2]

    code, said = run(server, "usage", "--users", SERVER_NAME)
    assert code == 0
    assert rows(said) == [["user", "media", "size"], [USER, "1", size]]
    assert rows(run(server, "usage", "--users", "--search", "nobody")[1])[1:] == []


def test_a_terminal_gets_columns_and_units(server: Server, media: str) -> None:
    seen = run_on_terminal(server, "usage", "--users").splitlines()
    assert seen[0].split() == ["user", "media", "size"]
    assert seen[1].split()[0] == USER
    assert seen[1].endswith(" B")
    assert "\t" not in seen[1]


def test_purging_looks_first(server: Server, media: str) -> None:
    code, said = run(server, "purge", "media", media, "--dry-run")
    assert (code, "would purge: 1 media" in said) == (0, True)
    assert status(server, media) == 200

    code, said = run(server, "purge", "user", USER)
    assert code == 1
    assert "--yes is needed" in said
    assert status(server, media) == 200

    code, said = run(server, "purge", "user", USER, "--yes", "--reason", "a test")
    assert code == 0
    assert [line.partition(":")[0] for line in said.splitlines()] == [
        "would purge",
        "purged",
    ]
    assert status(server, media) == 404
    code, said = run(server, "purge", "user", USER)
    assert (code, "would purge: 0 media" in said) == (0, True)


def test_a_terminal_is_asked_before_anything_goes(server: Server, media: str) -> None:
    seen = run_on_terminal(server, "purge", "media", media, typed=b"y\n")
    assert "Go on? [y/N]" in seen
    assert "] purged: 1 media" in seen
    assert status(server, media) == 404


def test_a_long_purge_is_watched(server: Server) -> None:
    """It is a task of the server, which goes on without us."""
    for number in range(70):
        server.upload(b"%3d" % number * 10)
    before = rows(run(server, "tasks", "--all")[1])
    seen = run_on_terminal(server, "purge", "user", USER, "--yes")
    assert "would purge: 70 media" in seen
    assert f"[{'#' * 30}] purge_media: 70 of about 70 (100%)" in seen
    assert "purged: 70 media, 2.1 KiB" in seen
    after = rows(run(server, "tasks", "--all")[1])
    [task] = after[len(before) :]
    assert task[1] == "purge_media"
    assert task[4:7] == ["70", "0", "70"]


def test_purging_old_media(server: Server, media: str) -> None:
    code, said = run(server, "purge", "old", "--before", "1d", "--include-local")
    assert (code, "would purge: 0 media" in said) == (0, True)
    for before in ("2100-01-01", "4102444800000"):
        code, said = run(
            server, "purge", "old", "--before", before, "--include-local", "--dry-run"
        )
        assert (code, "would purge: 1 media" in said) == (0, True), said
    code, said = run(server, "purge", "remote", "--before", "2100-01-01", "--dry-run")
    assert (code, "would purge: 0 media" in said) == (0, True)


@pytest.mark.parametrize("what", ["media", "user", "server"])
def test_quarantine_and_back(server: Server, media: str, what: str) -> None:
    target = {"media": media, "user": USER, "server": SERVER_NAME}[what]
    code, said = run(server, "quarantine", what, target, "--reason", "a test")
    assert (code, said) == (0, "quarantined: 1 media\n")
    assert status(server, media) == 404
    code, said = run(server, "unquarantine", what, target)
    assert (code, said) == (0, "unquarantined: 1 media\n")
    assert status(server, media) == 200


def test_what_is_left_as_it_is_is_listed(server: Server) -> None:
    code, said = run(server, "quarantine", "media", f"mxc://{SERVER_NAME}/nothing")
    assert code == 0
    assert f"left as it is: mxc://{SERVER_NAME}/nothing (unknown)" in said


def test_rooms_need_a_homeserver_admins_token(server: Server) -> None:
    code, said = run(server, "quarantine", "room", "!room:one.test")
    assert code == 1
    assert "not the shared secret" in said


def test_datastores_and_a_transfer_with_its_task(server: Server, media: str) -> None:
    table = rows(run(server, "datastores")[1])
    assert table[0] == ["id", "type", "objects", "size", "uri"]
    assert [row[:3] for row in table[1:]] == [
        ["main", "file", "1"],
        ["shelf", "file", "0"],
    ]
    later = ("--before", "2100-01-01")
    # Who asked for it last is written a little later.
    poll(
        lambda: (
            "media\t1\t" in run(server, "datastores", "estimate", "main", *later)[1]
        ),
        "no estimate",
        30,
    )
    code, said = run(
        server, "datastores", "transfer", "main", "shelf", *later, "--follow"
    )
    assert code == 0, said
    started = re.search(r"task ([0-9]+): 1 objects", said)
    assert started is not None
    number = started[1]
    assert "1 done, 0 failed" in said
    assert status(server, media) == 200

    assert rows(run(server, "tasks")[1])[1:] == []
    assert rows(run(server, "tasks", "--all")[1])[-1][:2] == [
        number,
        "storage_migration",
    ]
    assert run(server, "tasks", "follow", number)[0] == 0
    assert run(server, "tasks", "cancel", number)[0] == 0
    code, said = run(server, "tasks", "follow", "99")
    assert (code, "404" in said) == (1, True)
    seen = run_on_terminal(server, "tasks", "follow", number)
    assert f"[{'#' * 30}] storage_migration: 1 of about 1 (100%)" in seen


def test_an_access_token_may_take_the_place_of_the_secret(server: Server) -> None:
    code, said = run(server, "usage", environment={"MMR_ADMIN_TOKEN": server.token})
    assert code == 1
    assert "the server answered 403" in said


def test_help_shows_examples() -> None:
    for arguments in (["--help"], ["purge", "--help"], ["datastores", "-h"]):
        done = subprocess.run(
            command(*arguments), capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert "usage: mmr-admin" in done.stdout
    done = subprocess.run(
        command("--help"), capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "mmr-admin purge remote --before 90d" in done.stdout
    assert "exit status:" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["purge", "user"],
        ["purge", "old"],
        ["purge", "quarantined", "target"],
        ["purge", "quarantined", "--before", "1d"],
        ["purge", "remote", "--before", "yesterday"],
        ["purge", "remote", "--before", "1700000000"],
        ["purge", "user", "@a:b", "--include-local"],
        ["purge", "media", "not-a-uri"],
        ["quarantine", "everything"],
        ["tasks", "follow", "x"],
        ["usage", "--limit", "0"],
        ["--url", "ftp://x", "usage"],
        ["--host", "other.test", "usage"],
        ["-c", "/nowhere.yaml", "usage"],
    ],
)
def test_mistakes_are_told(server: Server, arguments: list[str]) -> None:
    code, said = run(server, *arguments)
    assert code == 2, said
    assert said.strip()


def test_a_secret_that_is_off(tmp_path: Path) -> None:
    code, said = run(Server(tmp_path), "usage")
    assert code == 2
    assert "sharedSecretAuth.enabled" in said


def test_a_server_that_is_away(server: Server) -> None:
    code, said = run(server, "--url", "http://127.0.0.1:9", "usage")
    assert code == 1
    assert "Is the server running there?" in said
    assert SECRET not in said


def test_names_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc") == "a\ufffd[2Jb\ufffdc"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1 << 40, "1.0 TiB"),
        (1 << 62, "4096.0 PiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert readable_size(count) == text


def test_times() -> None:
    assert readable_time(0) == "-"
    assert readable_time(1_700_000_000_000) == "2023-11-14 22:13:20"


def test_every_shown_command_is_understood() -> None:
    """The examples in the help are commands."""
    from mmr.cli.administration import arguments

    lines = [
        shlex.split(line)
        for line in arguments._EXAMPLES.splitlines()
        if "  mmr-admin" in line
    ]
    assert len(lines) > 5
    for line in lines:
        assert arguments.parse(line[1:]).run is not None
