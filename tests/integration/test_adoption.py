"""A database of matrix-media-repo's, adopted by `twistd mmr`, and given back."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.harness import png
from tests.integration.conftest import MakeServer
from tests.integration.inside import rows
from tests.integration.moving import run
from tests.integration.server import Server
from tests.postgres import create_database

NAME = "example.org"
_DATA = Path(__file__).parents[1] / "storage" / "data"
_STORES = ("store1", "store2", "store3")
ONE = b"1" * 1000
DRAWN = b"t" * 300
_OBJECTS = {
    "store1/aa/bb/one": ONE,
    "store1/ff/ee/thumb": DRAWN,
    "store1/12/34/ancient": b"ancient",
    "store2/cc/dd/three": b"3" * 50,
    "store2/ee/ff/empty": b"",
    "store2/12/34/lost": b"is here",
}


@pytest.fixture(params=["mmr_1_2.sql", "mmr_1_3.sql"])
def adopted(
    request: pytest.FixtureRequest, make_server: MakeServer, tmp_path: Path
) -> Server:
    """A server that takes over from MMR; not started."""
    folders = {store: tmp_path / store for store in _STORES}
    for location, content in _OBJECTS.items():
        path = tmp_path / location
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    sql = (_DATA / request.param).read_text()
    # From before datastores had ids, locations were paths.
    sql = sql.replace("/srv/old media", str(folders["store1"]))
    sql = sql.replace("/mnt/other", str(folders["store2"]))
    url = create_database()
    connection = psycopg2.connect(url)
    connection.cursor().execute(sql)
    connection.commit()
    connection.close()
    server = make_server({"database": {"sqlite": None, "postgres": url}})
    [appservice] = server.config["accessTokens"]["appservices"]
    appservice["senderUserId"] = f"@tests:{NAME}"
    server.write_config(
        {
            "homeservers": [{"name": NAME, "csApi": "http://127.0.0.1:9"}],
            "datastores": [
                {
                    "type": "file",
                    "id": store,
                    "forKinds": ["all"],
                    "opts": {"path": str(folder)},
                }
                for store, folder in folders.items()
            ],
        }
    )
    return server


def test_old_media_is_served_and_new_media_stored(adopted: Server) -> None:
    adopted.start()

    def get(kind: str, path: str, token: str | None = None) -> tuple[int, bytes]:
        path = f"/_matrix/media/v3/{kind}/{path}"
        answer = adopted.request("GET", path, host=NAME, token=token)
        return answer.status, answer.body

    # Twice: from its row, and once it is warm.
    for _ in range(2):
        assert get("download", f"{NAME}/one") == (200, ONE)
        assert get("download", f"{NAME}/two", token="") == (200, ONE)
        assert get("download", f"{NAME}/empty") == (200, b"")
        assert get("download", "remote.example/three")[0] == 404
        drawn = get("thumbnail", f"{NAME}/one?width=96&height=96&method=crop")
        assert drawn == (200, DRAWN)
    if has_ancient(adopted):
        assert get("download", f"{NAME}/ancient") == (200, b"ancient")
        assert get("download", f"{NAME}/lost") == (200, b"is here")
    else:
        assert get("download", f"{NAME}/one", token="")[0] == 404
    mxc = adopted.upload(b"new " * 1000, host=NAME)
    assert adopted.download(mxc, host=NAME).body == b"new " * 1000
    assert "Traceback" not in adopted.child.log_text()


def has_ancient(server: Server) -> bool:
    """Whether the database is one of 1.2."""
    connection = psycopg2.connect(server.config["database"]["postgres"])
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT 1 FROM media WHERE media_id = 'ancient'")
        return cursor.fetchone() is not None
    finally:
        connection.close()


def test_a_store_that_only_an_export_uses_must_be_configured(adopted: Server) -> None:
    stores = [
        store for store in adopted.config["datastores"] if store["id"] != "store3"
    ]
    adopted.write_config({"datastores": stores})
    status, output = adopted.run_to_its_end()
    assert status == 1
    assert "store3" in output
    assert "Traceback" not in output


def test_the_walk_through_of_the_manual(adopted: Server) -> None:
    """docs/migrating-from-mmr.md, step by step."""
    config = ["-c", str(adopted.config_path)]
    checked = subprocess.run(
        [sys.executable, "-m", "mmr", *config, "--check-config"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked
    before = rows(adopted, "SELECT origin, media_id, location FROM media")
    adopted.start()
    path = f"/_matrix/media/v3/download/{NAME}/one"
    assert adopted.request("GET", path, host=NAME).body == ONE
    mxc = adopted.upload(b"new " * 1000, host=NAME)
    adopted.stop()
    for folder in ("store1", "store2"):
        for location, content in _OBJECTS.items():
            if location.startswith(folder):
                assert (adopted.folder.parent / location).read_bytes() == content
    # Rows from before datastores had ids got theirs; nothing else has changed.
    after = rows(adopted, "SELECT origin, media_id, location FROM media")
    assert {row[:2] for row in after} == {row[:2] for row in before} | {
        (NAME, mxc.rpartition("/")[2])
    }
    looked = run("fsck", "-config", adopted.config_path)
    # The part of an export, which was lost before; nothing that anybody uploaded.
    assert (looked.status, "missing\tstore3\t11/22/part" in looked.out) == (1, True)
    assert "our own users" not in looked.log


_COLUMNS = """
    SELECT table_name, ordinal_position, column_name, data_type, is_nullable,
        column_default FROM information_schema.columns WHERE table_schema = 'public'
"""
_INDEXES = "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'"
_TRIGGERS = """
    SELECT event_object_table, trigger_name, event_manipulation, action_timing,
        action_statement FROM information_schema.triggers
"""
# As MMR writes, with the columns that it names (storage reference, section 2).
_WRITES = (
    "INSERT INTO media (origin, media_id, upload_name, content_type, user_id,"
    " sha256_hash, size_bytes, creation_ts, quarantined, datastore_id, location)"
    " VALUES ('a.b', 'm', '.', 'text/plain', '@u:a.b', 'hash', 7, 1, FALSE, 's', 'l')",
    "INSERT INTO thumbnails (origin, media_id, content_type, width, height, method,"
    " animated, sha256_hash, size_bytes, creation_ts, datastore_id, location)"
    " VALUES ('a.b', 'm', 'image/png', 1, 1, 'crop', FALSE, 'h', 1, 1, 's', 'l')",
    "INSERT INTO url_previews (url, error_code, bucket_ts, site_url, site_name,"
    " resource_type, description, title, image_mxc, image_type, image_size,"
    " image_width, image_height, language_header)"
    " VALUES ('u', '', 1, '', '', '', '', '', '', '', 0, 0, 0, 'en')",
    "INSERT INTO last_access (sha256_hash, last_access_ts) VALUES ('hash', 1)"
    " ON CONFLICT (sha256_hash) DO UPDATE SET last_access_ts = 1",
    "INSERT INTO datastores (datastore_id, ds_type, uri) VALUES ('s', 'file', '/m')",
    "INSERT INTO background_tasks (task, params, start_ts, end_ts)"
    " VALUES ('storage_migration', '{}', 1, 0)",
    "INSERT INTO reserved_media (origin, media_id, reason) VALUES ('a.b', 'x', 'r')",
    "INSERT INTO exports (export_id, entity) VALUES ('e', 'a.b')",
    "INSERT INTO export_parts (export_id, index, size_bytes, file_name, datastore_id,"
    " location) VALUES ('e', 1, 1, 'f', 's', 'l')",
    "INSERT INTO media_attributes (origin, media_id, purpose)"
    " VALUES ('a.b', 'm', 'pinned')",
    "INSERT INTO expiring_media (origin, media_id, user_id, expires_ts)"
    " VALUES ('a.b', 'p', '@u:a.b', 1)",
    "INSERT INTO media_id_hold (origin, media_id, reason) VALUES ('a.b', 'p', 'r')",
    "INSERT INTO restricted_media (origin, media_id, condition_type, condition_value)"
    " VALUES ('a.b', 'm', 'io.t2bot.requires_authentication', 'true')",
    "DELETE FROM media WHERE origin = 'a.b' AND media_id = 'm'",
)


def test_the_way_back_stays_open(adopted: Server) -> None:
    """After all that changes rows, MMR finds its tables, and objects where it looks."""
    use(adopted)
    adopted.stop()

    untouched = create_database()
    connection = psycopg2.connect(untouched)
    connection.cursor().execute((_DATA / "mmr_1_3.sql").read_text())
    connection.commit()
    for query in (_COLUMNS, _INDEXES, _TRIGGERS):
        with connection.cursor() as cursor:
            cursor.execute(query)
            ours = set(rows(adopted, query))
            theirs = set(cursor.fetchall())
            tables = {row[0] for row in theirs}
            assert theirs <= ours, query
            if query is not _INDEXES:
                assert {row for row in ours if row[0] in tables} == theirs
    connection.close()
    migrations = rows(adopted, "SELECT migration_id FROM gomigrate ORDER BY 1")
    assert [number for (number,) in migrations] == list(range(1, 30))

    for statement in _WRITES:
        rows(adopted, statement)
    stats = rows(
        adopted, "SELECT uploaded_bytes FROM user_stats WHERE user_id = '@u:a.b'"
    )
    assert stats == [(0,)]


def use(server: Server) -> None:
    """Write to all that MMR has, as far as one homeserver's client can."""
    server.start()
    kept = server.upload(png(400, 300), "image/png", host=NAME)
    gone = server.upload(b"to be deleted" * 100, host=NAME)
    name = kept.removeprefix("mxc://")
    thumbnail = f"/_matrix/client/v1/media/thumbnail/{name}?width=96&height=96"
    assert server.request("GET", thumbnail, host=NAME).status == 200
    created = server.request("POST", "/_matrix/media/v1/create", host=NAME)
    assert created.status == 200
    path = f"/_matrix/media/unstable/download/{gone.removeprefix('mxc://')}"
    assert server.request("DELETE", path, host=NAME).status == 200
    check_objects(server, kept.rpartition("/")[2])


def check_objects(server: Server, media_id: str) -> None:
    """MMR's layout: every row names its datastore by id, and its file by path."""
    stores: list[dict[str, Any]] = server.config["datastores"]
    folders = {each["id"]: Path(each["opts"]["path"]) for each in stores}
    columns = (
        f"datastore_id, location, sha256_hash FROM {{}} WHERE media_id = '{media_id}'"
    )
    found = [
        *rows(server, "SELECT " + columns.format("media")),
        *rows(server, "SELECT " + columns.format("thumbnails")),
    ]
    assert len(found) == 2
    for datastore_id, location, sha256 in found:
        assert re.fullmatch("[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-z]+", location)
        data = (folders[datastore_id] / location).read_bytes()
        assert hashlib.sha256(data).hexdigest() == sha256
