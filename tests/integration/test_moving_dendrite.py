"""From a Dendrite to mmr: its table and folder as they are, its API as a stub."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmr.interop.foreign_database import ForeignDatabase, open_postgres, open_sqlite

from tests.integration.conftest import MakeServer
from tests.integration.inside import rows
from tests.integration.moving import Done, run
from tests.integration.server import SERVER_NAME, Server
from tests.interop.dendrite_tables import add_media, create_table
from tests.interop.synapse_tables import postgres_options
from tests.postgres import create_database

REMOTE = "remote.example"
ALICE = f"@alice:{SERVER_NAME}"
CONTENTS = {"text": b"text", "big": os.urandom(900_000), "empty-_9": b""}


class Dendrite:
    """A database, a folder, and an API that gives out what it is told to.

    Attributes:
        served: Media id → bytes, over the authenticated route.
        tokens: What came in the header ``Authorization``.
    """

    def __init__(self, folder: Path, engine: str) -> None:
        self.media = folder / "media_store"
        self.media.mkdir(parents=True)
        self.served: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self.database: ForeignDatabase
        if engine == "postgres":
            url = create_database()
            self.flag = f"--database={url}"
            self.database = open_postgres(postgres_options(url), writing=True)
        else:
            path = folder / "mediaapi.db"
            path.touch()
            self.flag = f"--database=sqlite:{path}"
            self.database = open_sqlite(path, writing=True)
        create_table(self.database)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self._thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def add(self, media_id: str, data: bytes, **more: object) -> Path:
        more = {"media_origin": SERVER_NAME, "user_id": ALICE, **more}
        path = add_media(self.database, self.media, media_id, data, **more)
        assert path is not None
        return path

    def stop(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()
        self.database.close()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        dendrite = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                dendrite.tokens.add(self.headers["Authorization"])
                prefix = f"/_matrix/client/v1/media/download/{SERVER_NAME}/"
                data = dendrite.served.get(self.path.removeprefix(prefix))
                body = b'{"errcode":"M_NOT_FOUND"}' if data is None else data
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture(params=["sqlite", "postgres"])
def dendrite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Dendrite]:
    made = Dendrite(tmp_path / "dendrite", request.param)
    yield made
    made.stop()


@pytest.fixture
def idle(make_server: MakeServer) -> Server:
    """A server that doesn't run: its configuration, database and folder."""
    return make_server()


def move_in(server: Server, dendrite: Dendrite, *more: object) -> Done:
    flags = ("-config", server.config_path, "-serverName", SERVER_NAME, dendrite.flag)
    environment = {"HOMESERVER_ACCESS_TOKEN": "a-token"}
    return run("import_dendrite", *flags, *more, environment=environment)


def check_served(server: Server, contents: dict[str, bytes], origin: str) -> None:
    for media_id, data in contents.items():
        answer = server.download(f"mxc://{origin}/{media_id}")
        assert (answer.status, answer.body) == (200, data), media_id


def test_all_media_comes_over_the_api(idle: Server, dendrite: Dendrite) -> None:
    for media_id, data in CONTENTS.items():
        dendrite.add(media_id, data).unlink()
        dendrite.served[media_id] = data
    dendrite.add("theirs", b"theirs", media_origin=REMOTE, user_id="")
    flags = ("-baseUrl", dendrite.url + "/")

    dry = move_in(idle, dendrite, *flags, "--dry-run")
    assert (dry.status, dry.count("would be stored")) == (0, 3), dry
    assert idle.objects() == set()
    moved = move_in(idle, dendrite, *flags)
    assert (moved.status, moved.count("stored")) == (0, 3), moved
    assert dendrite.tokens == {"Bearer a-token"}
    again = move_in(idle, dendrite, *flags)
    assert (again.status, again.count("known")) == (0, 3), again
    verified = move_in(idle, dendrite, *flags, "--verify")
    assert (verified.status, verified.count("equal")) == (0, 3), verified

    found = rows(
        idle, "SELECT user_id, upload_name, content_type, creation_ts FROM media"
    )
    assert set(found) == {(ALICE, "a.txt", "text/plain", 1_600_000_000_000)}
    idle.start()
    check_served(idle, CONTENTS, SERVER_NAME)
    # Dendrite doesn't say what only users may see: old clients keep it.
    path = f"/_matrix/media/v3/download/{SERVER_NAME}/text"
    assert idle.request("GET", path, token="").status == 200


def test_all_media_comes_from_the_folder(idle: Server, dendrite: Dendrite) -> None:
    for media_id, data in CONTENTS.items():
        dendrite.add(media_id, data)
    dendrite.add("theirs", b"theirs", media_origin=REMOTE, user_id="")
    moved = move_in(idle, dendrite, "--media-directory", dendrite.media, "--remote")
    assert (moved.status, moved.count("stored")) == (0, 4), moved
    assert dendrite.tokens == set()
    idle.start()
    check_served(idle, CONTENTS, SERVER_NAME)
    check_served(idle, {"theirs": b"theirs"}, REMOTE)


def test_what_can_not_be_moved_is_named_and_the_rest_goes_on(
    idle: Server, dendrite: Dendrite
) -> None:
    """R102."""
    dendrite.add("good", b"good")
    dendrite.add("lost", b"lost").unlink()
    dendrite.add("flipped", b"flipped").write_bytes(b"flippet")
    dendrite.add("torn", b"torn").write_bytes(b"to")
    dendrite.add("a/b", b"no id")
    dendrite.add("escaping", b"escaping", base64hash="../../../etc/passwd")
    done = move_in(idle, dendrite, "--media-directory", dendrite.media)
    named = {
        line.split("\t")[1].removeprefix(f"mxc://{SERVER_NAME}/"): line.split("\t")[0]
        for line in done.out.splitlines()
    }
    assert done.status == 1
    assert named == {
        "lost": "failed",
        "flipped": "damaged",
        "torn": "damaged",
        "a/b": "failed",
        "escaping": "failed",
    }
    assert done.count("stored") == 1
    assert len(idle.objects()) == 1


def test_all_media_comes_through_an_archive(
    idle: Server, dendrite: Dendrite, tmp_path: Path
) -> None:
    for media_id, data in CONTENTS.items():
        dendrite.add(media_id, data)
    archive = tmp_path / "archive"
    flags = ("-serverName", SERVER_NAME, dendrite.flag, "-destination", archive)
    done = run("export_dendrite_for_import", *flags, "-mediaDirectory", dendrite.media)
    assert (done.status, done.count("exported")) == (0, 3), done
    done = run("gdpr_import", "-config", idle.config_path, "-directory", archive)
    assert done.status == 0, done
    idle.start()
    check_served(idle, CONTENTS, SERVER_NAME)
    ((user_id, created),) = set(rows(idle, "SELECT user_id, creation_ts FROM media"))
    assert (user_id, created) == (ALICE, 1_600_000_000_000)


def test_mistakes_are_told(idle: Server, dendrite: Dendrite, tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    for flags, said in (
        (["-serverName", "other.example"], "-serverName is 'other.example'"),
        ([f"--database=sqlite:{empty}"], "not the database of Dendrite's media API"),
        (["--media-directory", tmp_path / "none"], "media_api.base_path"),
        (["-baseUrl", "localhost"], "-baseUrl is 'localhost'"),
    ):
        done = move_in(idle, dendrite, *flags)
        assert done.status == 2
        assert said in done.log
        assert "Traceback" not in done.log
    done = run("import_dendrite", "-help")
    assert (done.status, "examples:" in done.out) == (0, True)
