"""The programs that move media, when something is the matter."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import png
from tests.integration.conftest import MakeServer
from tests.integration.inside import recorded, rows, sweep
from tests.integration.moving import Done, command, run
from tests.integration.process import poll
from tests.integration.server import SERVER_NAME, Server
from tests.interop.fake_synapse import FakeSynapse
from tests.postgres import shared_cluster

MANY = 3000


@pytest.fixture
def synapse(tmp_path: Path) -> FakeSynapse:
    return FakeSynapse(tmp_path / "synapse", SERVER_NAME)


@pytest.fixture
def idle(make_server: MakeServer) -> Server:
    """A server that doesn't run: its configuration, database and folder."""
    return make_server()


def move_in(server: Server, synapse: FakeSynapse, *more: str) -> Done:
    flags = ("-config", server.config_path, "--homeserver-config", synapse.config)
    return run("import_synapse", *flags, *more)


def move_out(server: Server, synapse: FakeSynapse, *more: str) -> Done:
    flags = ("-config", server.config_path, "--homeserver-config", synapse.config)
    return run("import_to_synapse", *flags, *more)


def faults(done: Done) -> dict[str, str]:
    """What was named: media id → what is the matter."""
    found = {}
    for line in done.out.splitlines():
        word, mxc, why = line.split("\t")
        found[mxc.rpartition("/")[2]] = f"{word}: {why}"
    return found


def write_archive(folder: Path, media: dict[str, Any]) -> None:
    """An archive of version 2, written by hand: a part, and the manifest."""
    folder.mkdir()
    records = {}
    with tarfile.open(folder / "export-part-1.tgz", "w:gz") as part:
        for mxc, value in media.items():
            content, changes = value if isinstance(value, tuple) else (value, {})
            origin, _, media_id = mxc.removeprefix("mxc://").partition("/")
            records[mxc] = {
                "name": f"{media_id}.txt",
                "file_name": f"{media_id}.txt",
                "size_bytes": len(content or b""),
                "content_type": "text/plain",
                "sha256": hashlib.sha256(content or b"").hexdigest(),
                "s3_url": "",
                "origin": origin,
                "media_id": media_id,
                "created_ts": 1_600_000_000_000,
                "uploader": f"@alice:{origin}",
                **changes,
            }
            if content is not None:
                _add(part, f"{media_id}.txt", content)
    manifest = {"version": 2, "entity_id": SERVER_NAME, "created_ts": 1}
    with tarfile.open(folder / "export-manifest.tgz", "w:gz") as part:
        text = json.dumps({**manifest, "media": records}).encode()
        _add(part, "manifest.json", text)


def _add(part: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    part.addfile(entry, io.BytesIO(content))


def kill_when(
    words: list[str], is_time: Callable[[], bool], number: int
) -> tuple[int, str]:
    """Start a program and send it a signal; returns exit status and output."""
    child = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        poll(lambda: is_time() or child.poll() is not None, "not under way", 60)
        child.send_signal(number)
        output, _ = child.communicate(timeout=40)
        return child.returncode, output
    finally:
        child.kill()
        child.wait()


def test_bad_media_is_named_and_the_rest_goes_on(
    idle: Server, synapse: FakeSynapse
) -> None:
    good = synapse.add_many(20)
    missing = synapse.add("missing", b"lost")
    missing.unlink()
    folder = synapse.add("unreadable", b"a folder")
    folder.unlink()
    folder.mkdir()
    short = synapse.add("truncated", b"all of it")
    short.write_bytes(b"all")
    flipped = synapse.add("flipped", b"what it was")
    flipped.write_bytes(b"what it is.")
    synapse.add("odd.id", b"not in the grammar")

    dry = move_in(idle, synapse, "--dry-run")
    assert dry.status == 1
    assert set(faults(dry)) == {"missing", "unreadable", "truncated", "odd.id"}
    done = move_in(idle, synapse)
    assert done.status == 1
    assert done.count("stored") == len(good)
    found = faults(done)
    assert found == {
        "missing": f"failed: {missing}: No such file or directory",
        "unreadable": f"failed: {folder}: not a regular file",
        "truncated": "damaged: it has 3 bytes; 9 were announced",
        "flipped": found["flipped"],
        "odd.id": "failed: its address is not a valid MXC URI",
    }
    assert found["flipped"].startswith("damaged: its hash is ")
    verified = move_in(idle, synapse, "--verify")
    assert verified.status == 1
    assert verified.count("equal") == len(good)
    assert faults(verified)["missing"] == "missing: it is not here"

    missing.write_bytes(b"lost")
    folder.rmdir()
    folder.write_bytes(b"a folder")
    again = move_in(idle, synapse)
    assert (again.status, again.count("stored")) == (1, 2), again
    assert set(faults(again)) == {"truncated", "flipped", "odd.id"}


def test_what_differs_here_is_named(idle: Server, synapse: FakeSynapse) -> None:
    for media_id in ("stays", "renamed", "quarantined", "damaged"):
        synapse.add(media_id, media_id.encode())
    assert move_in(idle, synapse).status == 0
    rows(idle, "UPDATE media SET upload_name = 'x' WHERE media_id = 'renamed'")
    synapse.database.rows(
        "UPDATE local_media_repository SET quarantined_by = '@mod:one.test'"
        " WHERE media_id = 'quarantined'"
    )
    [(location,)] = rows(idle, "SELECT location FROM media WHERE media_id = 'damaged'")
    (idle.media / location).write_bytes(b"DAMAGED")
    done = move_in(idle, synapse, "--verify")
    assert done.status == 1
    assert faults(done) == {
        "renamed": "different: differs in name",
        "quarantined": "different: differs in quarantine",
        "damaged": "different: differs in content",
    }
    assert done.count("equal") == 1


def test_killed_while_moving_in_it_goes_on(idle: Server, synapse: FakeSynapse) -> None:
    """R94: killed at any point, a record has its object, and leftovers are swept."""
    many = synapse.add_many(MANY)
    flags = ("-config", idle.config_path, "--homeserver-config", synapse.config)
    words = command("import_synapse", *flags)
    status, _ = kill_when(words, lambda: len(idle.objects()) > 300, signal.SIGKILL)
    assert status == -signal.SIGKILL
    [(before,)] = rows(idle, "SELECT COUNT(*) FROM media")
    assert before < MANY
    done = move_in(idle, synapse)
    assert done.status == 0, done
    assert done.count("known") == before
    assert done.count("stored") == MANY - before
    assert move_in(idle, synapse, "--verify").count("equal") == len(many)
    sweep(idle)
    assert idle.objects() == recorded(idle)


def test_stopped_from_the_keyboard_it_ends(idle: Server, synapse: FakeSynapse) -> None:
    synapse.add_many(MANY)
    flags = ("-config", idle.config_path, "--homeserver-config", synapse.config)
    words = command("import_synapse", *flags)
    status, output = kill_when(words, lambda: len(idle.objects()) > 100, signal.SIGINT)
    assert status == 2, output
    assert output.endswith("interrupted\n")
    assert "Traceback" not in output
    assert move_in(idle, synapse).status == 0


def test_killed_while_moving_out_it_goes_on(
    idle: Server, synapse: FakeSynapse, tmp_path: Path
) -> None:
    source = FakeSynapse(tmp_path / "source", SERVER_NAME)
    many = source.add_many(MANY)
    assert move_in(idle, source).status == 0
    flags = ("-config", idle.config_path, "--homeserver-config", synapse.config)
    words = command("import_to_synapse", *flags)
    status, _ = kill_when(words, lambda: len(synapse.files()) > 300, signal.SIGKILL)
    assert status == -signal.SIGKILL
    held = synapse.database.rows("SELECT media_id FROM local_media_repository")
    assert len(held) < MANY
    names = {"".join(path.parts[-3:]) for path in synapse.files()}
    assert {media_id for (media_id,) in held} <= names, "a row has no file"
    done = move_out(idle, synapse)
    assert done.status == 0, done
    assert (done.count("known"), done.count("stored")) == (len(held), MANY - len(held))
    content = {"".join(p.parts[-3:]): p.read_bytes() for p in synapse.files()}
    assert content == many
    assert not (synapse.store / ".mmr-tmp").exists()


def test_what_cannot_move_out_is_named(
    idle: Server, synapse: FakeSynapse, tmp_path: Path
) -> None:
    source = FakeSynapse(tmp_path / "source", SERVER_NAME)
    for media_id in ("normal", "missing", "purged"):
        source.add(media_id, media_id.encode())
    assert move_in(idle, source).status == 0
    rows(idle, "UPDATE media SET media_id = 'abcd' WHERE media_id = 'normal'")
    source.add("other", b"other")
    assert move_in(idle, source).status == 0
    [(location,)] = rows(idle, "SELECT location FROM media WHERE media_id = 'missing'")
    (idle.media / location).unlink()
    rows(idle, "UPDATE media SET location = '' WHERE media_id = 'purged'")
    done = move_out(idle, synapse)
    assert done.status == 1
    found = faults(done)
    assert found == {
        "abcd": "refused: '' can't be a part of a path in Synapse's store",
        "missing": f"failed: datastore 'main' has no object {location}",
    }
    assert done.count("skipped: purged, only its quarantine is left") == 1
    # What had the id "normal" before came back as it.
    assert done.count("stored") == 2


def test_an_archive_with_faults_goes_into_synapse_as_far_as_it_can(
    synapse: FakeSynapse, tmp_path: Path
) -> None:
    """R77: no name in an archive is a path."""
    bad = {"sha256": "ab" * 32}
    write_archive(
        tmp_path / "archive",
        {
            f"mxc://{SERVER_NAME}/normal": b"normal",
            f"mxc://{SERVER_NAME}/already": b"already",
            f"mxc://{SERVER_NAME}/another": b"another content",
            f"mxc://{SERVER_NAME}/wronghash": (b"wrong", bad),
            f"mxc://{SERVER_NAME}/abcd": b"an id that is too short",
            f"mxc://{SERVER_NAME}/stranger": (b"x", {"uploader": "@bob:two.test"}),
            f"mxc://{SERVER_NAME}/lost": (None, {}),
            f"mxc://{SERVER_NAME}/large": b"large" * 200_000,
            "mxc://two.test/elsewhere": b"of another server",
        },
    )
    synapse.add("already", b"already")
    synapse.add("another", b"one content")
    flags = ("--homeserver-config", synapse.config, "-directory", tmp_path / "archive")
    done = run("import_to_synapse", *flags)
    assert done.status == 1, done
    assert done.count("stored") == 2
    assert done.count("known") == 1
    found = faults(done)
    assert found.pop("wronghash").startswith("damaged: its hash is ")
    assert found == {
        "another": "conflict: the id is here already, with other content",
        "abcd": "refused: '' can't be a part of a path in Synapse's store",
        "stranger": "refused: its uploader @bob:two.test is not of one.test",
        "lost": "missing: no part holds lost.txt",
    }
    held = {"".join(path.parts[-3:]): path.read_bytes() for path in synapse.files()}
    assert held == {
        "normal": b"normal",
        "already": b"already",
        "another": b"one content",
        "large": b"large" * 200_000,
    }
    more = run("import_to_synapse", *flags, "--remote")
    assert more.count("stored") == 1, more
    cached = synapse.database.rows(
        "SELECT media_origin, media_id FROM remote_media_cache"
    )
    assert cached == [("two.test", "elsewhere")]


def test_an_archive_needs_to_be_told_whose_media_it_is(
    synapse: FakeSynapse, tmp_path: Path
) -> None:
    database = f"sqlite:{synapse.config.parent}/homeserver.db"
    flags = ("--database", database, "-mediaDirectory", synapse.store)
    done = run("import_to_synapse", *flags, "-directory", tmp_path)
    assert (done.status, "-serverName is missing" in done.log) == (2, True), done
    done = run(
        "import_to_synapse", *flags, "-serverName", "one.test", "-directory", tmp_path
    )
    assert (done.status, "no manifest.json" in done.log) == (2, True), done


def test_what_cannot_be_drawn_has_no_thumbnails(
    idle: Server, synapse: FakeSynapse, tmp_path: Path
) -> None:
    source = FakeSynapse(tmp_path / "source", SERVER_NAME)
    source.add("picture", png(200, 100), media_type="image/png")
    source.add("broken", b"\x89PNG\r\n\x1a\nnot a picture", media_type="image/png")
    assert move_in(idle, source).status == 0
    done = move_out(idle, synapse, "-generateThumbnails")
    assert (done.status, done.count("stored")) == (0, 2), done
    assert "one.test/broken: no thumbnails: The media is damaged" in done.log
    drawn = synapse.database.rows(
        "SELECT media_id, thumbnail_width, thumbnail_height, thumbnail_method"
        " FROM local_media_repository_thumbnails ORDER BY thumbnail_width"
    )
    # Real sizes, and none is larger than the picture.
    assert drawn == [
        ("picture", 32, 32, "crop"),
        ("picture", 96, 96, "crop"),
        ("picture", 200, 100, "scale"),
    ]
    names = {path.name for path in synapse.files() if "thumbnail" in str(path)}
    assert names == {
        "32-32-image-png-crop",
        "96-96-image-png-crop",
        "200-100-image-png-scale",
    }


def test_wrong_credentials_are_named(idle: Server) -> None:
    flags = ("-config", idle.config_path, "-dbHost", "127.0.0.1")
    flags = (*flags, "-dbPort", shared_cluster().port, "-dbUsername", "stranger")
    done = run("import_synapse", *flags, environment={"PGPASSWORD": "hunter2"})
    assert done.status == 2
    assert 'role "stranger" does not exist' in done.log
    assert "hunter2" not in done.log


def test_mistakes_end_the_program_before_anything_happens(
    idle: Server, synapse: FakeSynapse, tmp_path: Path
) -> None:
    other = FakeSynapse(tmp_path / "other", "elsewhere.test")
    done = move_in(idle, other)
    assert done.status == 2
    assert "'elsewhere.test', and mmr's configuration names one.test" in done.log
    done = run("import_synapse", "-config", idle.config_path)
    assert done.status == 2
    assert "set PGPASSWORD, or give -dbPassword" in done.log
    synapse.store.rename(tmp_path / "gone")
    for program in (move_in, move_out):
        done = program(idle, synapse)
        assert done.status == 2
        assert f"{synapse.store} cannot be read: No such file" in done.log
    assert run("import_synapse", "-workers", "0").status == 2


def test_a_homeserver_that_stops_answering_ends_the_run(
    idle: Server, synapse: FakeSynapse
) -> None:
    synapse.add_many(30)
    database = f"sqlite:{synapse.config.parent}/homeserver.db"
    flags = ("-config", idle.config_path, "--database", database)
    started = time.monotonic()
    done = run("import_synapse", *flags, "-baseUrl", "http://127.0.0.1:9")
    assert done.status == 2, done
    assert "http://127.0.0.1:9" in done.log
    assert "goes on from here" in done.log
    assert time.monotonic() - started < 120


@pytest.mark.parametrize("program", ["import_synapse", "import_to_synapse"])
def test_help_has_examples(program: str) -> None:
    done = run(program, "-help")
    assert done.status == 0
    assert f"mmr-{program.replace('_', '-')} -config" in done.out
    for flag in ("-dbHost", "-serverName", "-workers", "-dryRun", "exit status:"):
        assert flag in done.out
