"""A database of matrix-media-repo's, opened in place by `twistd mmr`."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest

from tests.integration.conftest import MakeServer
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
