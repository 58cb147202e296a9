"""``mmr-export-synapse-for-import`` and ``mmr-export-dendrite-for-import``, run as
programs on databases and folders that no server uses.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmr.interop.foreign_database import open_postgres, open_sqlite

from tests.harness import png
from tests.interop import dendrite_tables
from tests.interop.synapse_tables import SERVER, create, insert, postgres_options
from tests.postgres import create_database

PICTURE = png()
CREATED = 1_600_000_000_000


class Homeserver:
    """A database and a media folder, and the program that exports them."""

    def __init__(self, kind: str, engine: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.media = folder / "media_store"
        self.media.mkdir()
        if engine == "postgres":
            url = create_database()
            self.flags = [f"--database={url}"]
            self.database = open_postgres(postgres_options(url), writing=True)
        else:
            path = folder / "homeserver.db"
            path.touch()
            self.flags = [f"--database=sqlite:{path}"]
            self.database = open_sqlite(path, writing=True)
        if kind == "synapse":
            create(self.database)
        else:
            dendrite_tables.create_table(self.database)

    def add(self, media_id: str, data: bytes, **more: Any) -> Path:
        """A local media."""
        if self.kind == "dendrite":
            path = dendrite_tables.add_media(
                self.database, self.media, media_id, data, **more
            )
            assert path is not None
            return path
        values = {
            "media_id": media_id,
            "media_type": "text/plain",
            "media_length": len(data),
            "created_ts": CREATED,
            "upload_name": "a.txt",
            "user_id": f"@alice:{SERVER}",
        }
        insert(self.database, "local_media_repository", **{**values, **more})
        parts = ("local_content", media_id[:2], media_id[2:4], media_id[4:])
        path = self.media.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def command(self, *flags: str) -> list[str]:
        module = f"mmr.cli.export_{self.kind}_for_import"
        return [sys.executable, "-m", module, *self.flags, *flags]

    def export(self, *flags: str, server_name: str = SERVER) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        done = subprocess.run(
            self.command("-serverName", server_name, *flags),
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    @property
    def parts(self) -> list[str]:
        folder = self.folder / "media-export"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def archive(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The manifest, and all entries but the last two."""
        entries: dict[str, bytes] = {}
        for name in self.parts:
            with tarfile.open(self.folder / "media-export" / name) as part:
                for info in part:
                    file = part.extractfile(info)
                    assert file is not None
                    entries[info.name] = file.read()
        assert b"<html" in entries.pop("index.html")
        return json.loads(entries.pop("manifest.json")), entries


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture(
    params=[
        "synapse-sqlite",
        "synapse-postgres",
        "dendrite-sqlite",
        "dendrite-postgres",
    ]
)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Homeserver]:
    kind, _, engine = request.param.partition("-")
    made = Homeserver(kind, engine, tmp_path)
    with contextlib.closing(made.database):
        yield made


@pytest.fixture(params=["synapse", "dendrite"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Homeserver]:
    """On SQLite."""
    made = Homeserver(request.param, "sqlite", tmp_path)
    with contextlib.closing(made.database):
        yield made


@pytest.fixture
def synapse(tmp_path: Path) -> Iterator[Homeserver]:
    made = Homeserver("synapse", "sqlite", tmp_path)
    with contextlib.closing(made.database):
        yield made


def test_the_archive_holds_every_byte_and_says_what_it_is(home: Homeserver) -> None:
    contents = {
        "AbCdPicture": PICTURE,
        "AbCdText": b"text",
        "AbCdEmpty": b"",
        "AbCdBig": os.urandom(700_000),
    }
    for media_id, data in contents.items():
        home.add(media_id, data)
    status, out, err = home.export("-partSize", "600000")

    assert (status, out) == (0, ""), err
    assert "exported: 4" in err
    # The large one fills the first part.
    assert home.parts == [
        "export-manifest.tgz",
        "export-part-1.tgz",
        "export-part-2.tgz",
    ]
    manifest, entries = home.archive()
    assert (manifest["version"], manifest["entity_id"]) == (2, SERVER)
    assert len(manifest["media"]) == 4
    for media_id, data in contents.items():
        record = manifest["media"][f"mxc://{SERVER}/{media_id}"]
        extension = ".png" if data == PICTURE else ""
        assert record == {
            "origin": SERVER,
            "media_id": media_id,
            "name": "a.txt",
            "file_name": f"{SERVER}__{media_id}{extension}",
            "size_bytes": len(data),
            "content_type": "text/plain",
            "sha256": hashlib.sha256(data).hexdigest(),
            "s3_url": "",
            "created_ts": CREATED,
            "uploader": f"@alice:{SERVER}",
        }
        assert entries[record["file_name"]] == data


def test_a_missing_file_ends_it_unless_it_is_to_be_skipped(home: Homeserver) -> None:
    home.add("AbCdOne", b"one")
    lost = home.add("AbCdTwo", b"two")
    home.add("AbCdZ", b"last")
    lost.unlink()
    status, out, err = home.export()
    assert (status, out) == (2, "")
    assert f"mxc://{SERVER}/AbCdTwo: {lost.relative_to(home.folder)}" in err
    assert "-skipMissing" in err
    assert "export-manifest.tgz" not in home.parts

    # The run that goes on where it stopped lists what it leaves out.
    status, out, err = home.export("-skipMissing")
    assert status == 1
    assert out.startswith(f"failed\tmxc://{SERVER}/AbCdTwo\t")
    manifest, entries = home.archive()
    assert set(manifest["media"]) == {
        f"mxc://{SERVER}/{m}" for m in ("AbCdOne", "AbCdZ")
    }
    assert sorted(entries.values()) == [b"last", b"one"]


def test_a_dry_run_writes_nothing_and_finds_what_is_missing(either: Homeserver) -> None:
    either.add("AbCdOne", b"one")
    either.add("AbCdTwo", b"two").unlink()
    status, out, err = either.export("--dry-run", "-skipMissing")
    assert status == 1
    assert out.startswith(f"failed\tmxc://{SERVER}/AbCdTwo\t")
    assert "found: 1" in err
    assert either.parts == []


def test_damaged_files_are_named_and_left_out(home: Homeserver) -> None:
    """R102."""
    home.add("AbCdGood", b"good")
    home.add("AbCdTorn", b"torn").write_bytes(b"tor")
    flipped = {"sha256": hashlib.sha256(b"it").hexdigest()}
    more = flipped if home.kind == "synapse" else {}
    home.add("AbCdWrong", b"wrong", **more).write_bytes(b"wronk")
    status, out, _ = home.export("-skipMissing")
    assert status == 1
    named = {line.split("\t")[1].rpartition("/")[2] for line in out.splitlines()}
    assert {"AbCdTorn", "AbCdWrong"} <= named
    manifest, entries = home.archive()
    assert set(manifest["media"]) == {f"mxc://{SERVER}/AbCdGood"}
    assert b"good" in entries.values()


def test_what_is_no_media_of_this_server_is_skipped(synapse: Homeserver) -> None:
    synapse.add("AbCdGood", b"good")
    synapse.add("AbCdBad1", b"bad", quarantined_by="system")
    synapse.add("AbCdPage", b"page", url_cache="https://example.org/")
    synapse.add("AbCdNone", b"", media_length=None)
    status, out, err = synapse.export()
    assert (status, out) == (0, "")
    assert "skipped: quarantined, which an archive can't say: 1" in err
    assert "skipped: fetched for URL previews: 1" in err
    assert "skipped: uploads that never happened: 1" in err
    assert len(synapse.archive()[0]["media"]) == 1


def test_homeserver_yaml_says_it_all(synapse: Homeserver) -> None:
    synapse.add("AbCdGood", b"good")
    (synapse.folder / "homeserver.yaml").write_text(
        f"server_name: {SERVER}\n"
        "database: {name: sqlite3, args: {database: homeserver.db}}\n"
    )
    synapse.flags = ["--homeserver-config=homeserver.yaml"]
    status, _, err = synapse.export("-destination", "out", server_name="ignored")
    assert status == 0, err
    assert (synapse.folder / "out" / "export-manifest.tgz").exists()


def test_a_killed_run_is_gone_on_with(either: Homeserver) -> None:
    data = [os.urandom(300_000) for _ in range(80)]
    for number, content in enumerate(data):
        either.add(f"AbCd{number:04}", content)
    flags = ("-serverName", SERVER, "-partSize", "1000000")
    child = subprocess.Popen(
        either.command(*flags),
        cwd=either.folder,
        env=environment(),
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while len(either.parts) < 4 and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert "export-manifest.tgz" not in either.parts
    # The last one may not have been noted yet.
    whole = [name for name in either.parts if name.startswith("export")][:-1]
    done = {
        name: (either.folder / "media-export" / name).stat().st_mtime_ns
        for name in whole
    }
    assert done
    status, _, err = either.export("-partSize", "1000000")
    assert status == 0, err
    assert "going on with an unfinished export" in err
    for name, written in done.items():
        path = either.folder / "media-export" / name
        assert path.stat().st_mtime_ns == written
    manifest, entries = either.archive()
    assert len(manifest["media"]) == len(entries) == 80
    assert set(entries.values()) == set(data)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-mediaDirectory", "none"], "The media folder none cannot be read"),
        (["--database=sqlite:none.db"], "none.db: there is no such database file"),
        (["--database=sqlite:empty.db"], "not the"),
        (["--database=postgres://x:y@127.0.0.1:1/z"], "127.0.0.1"),
        (["-partSize", "0"], "expected a number of bytes"),
        (["-serverName", "a b"], "not a server name"),
        (["-destination", "homeserver.db"], "homeserver.db"),
    ],
)
def test_mistakes_are_told(either: Homeserver, flags: list[str], said: str) -> None:
    (either.folder / "empty.db").touch()
    status, out, err = either.export(*flags)
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_help_shows_examples(either: Homeserver) -> None:
    for flag in ("-help", "--help"):
        status, out, _ = either.export(flag)
        assert (status, "examples:" in out, "exit status" in out) == (0, True, True)


def test_two_runs_at_once_are_refused(synapse: Homeserver) -> None:
    folder = synapse.folder / "media-export"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    status, _, err = synapse.export()
    os.close(descriptor)
    assert (status, "another program writes an export" in err) == (2, True)
