"""From a real Synapse to mmr and back into another, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.integration.conftest import MakeServer
from tests.integration.moving import run
from tests.integration.server import Answer, Server, http_request
from tests.integration.synapse_media import FilledSynapse, Stored
from tests.postgres import create_database


@attrs.frozen
class Homes:
    """A Synapse with media, a fresh one, and mmr between them."""

    old: FilledSynapse
    new: FilledSynapse
    server: Server


@pytest.fixture(params=["sqlite", "postgres"])
def homes(
    request: pytest.FixtureRequest, tmp_path: Path, make_server: MakeServer
) -> Iterator[Homes]:
    is_postgres = request.param == "postgres"
    databases = [create_database() if is_postgres else None for _ in range(3)]
    settings = {"database": {"sqlite": None, "postgres": databases[2]}}
    made = Homes(
        FilledSynapse(tmp_path / "old", databases[0]),
        FilledSynapse(tmp_path / "new", databases[1]),
        make_server(settings if is_postgres else {}),
    )
    yield made
    made.old.synapse.stop()
    made.new.synapse.stop()


def check_content(stored: Stored, answer: Answer) -> None:
    assert answer.status == 200, (stored, answer)
    assert answer.body == stored.content
    assert _bare(answer.headers["Content-Type"]) == _bare(stored.content_type)


def _bare(content_type: str) -> str:
    return content_type.partition(";")[0]


def check_here(server: Server, stored: Stored) -> None:
    """mmr serves it as Synapse did, or keeps it back as Synapse did."""
    answer = server.download(stored.mxc)
    if stored.is_quarantined:
        assert answer.status in (403, 404), (stored, answer)
        return
    check_content(stored, answer)
    path = stored.mxc.removeprefix("mxc://")
    frozen = server.request("GET", f"/_matrix/media/v3/download/{path}", token="")
    # Synapse marks what is uploaded to it now; the remote rows are made as of old.
    assert frozen.status == (404 if stored.user else 200)


def check_there(synapse: FilledSynapse, stored: Stored) -> None:
    """The new Synapse serves it as the old one did."""
    if stored.is_quarantined:
        assert synapse.download(stored.mxc).status == 404
        bypass = "?admin_unsafely_bypass_quarantine=true"
        answer = synapse.download(stored.mxc, synapse.admin, bypass)
    else:
        answer = synapse.download(stored.mxc)
    check_content(stored, answer)


ROWS = """
    SELECT media_id, media_type, media_length, created_ts, upload_name, user_id,
        safe_from_quarantine, authenticated, sha256,
        CASE WHEN quarantined_by IS NULL THEN 0 ELSE 1 END
    FROM local_media_repository
    WHERE url_cache IS NULL AND media_length IS NOT NULL ORDER BY media_id
"""


def test_there_and_back_again(homes: Homes) -> None:
    old, new, server = homes.old, homes.new, homes.server
    old.start()
    old.fill()
    config = ("-config", server.config_path)
    from_old = (
        "import_synapse",
        *config,
        "--homeserver-config",
        old.config,
        "--remote",
    )

    dry = run(*from_old, "--dry-run")
    assert (dry.status, dry.count("would be stored")) == (0, len(old.media)), dry
    assert server.objects() == set()

    moved = run(*from_old)
    assert (moved.status, moved.count("stored")) == (0, len(old.media)), moved
    assert moved.count("skipped: fetched for URL previews") == 1
    assert moved.count("skipped: uploads that never happened") == 1

    late = old.upload(b"came while the others moved", "text/plain", "late.txt")
    again = run(*from_old)
    assert (again.status, again.count("stored")) == (0, 1), again
    assert again.count("known") == len(old.media) - 1
    verified = run(*from_old, "--verify")
    assert (verified.status, verified.count("equal")) == (0, len(old.media)), verified
    before = old.open_database()
    wanted = before.rows(ROWS)
    before.close()
    old.synapse.stop()

    server.start()
    for stored in old.media:
        check_here(server, stored)
    assert server.download(late.mxc).body == late.content

    new.start()
    to_new = (
        "import_to_synapse",
        *config,
        "--homeserver-config",
        new.config,
        "--remote",
    )
    dry = run(*to_new, "--dry-run")
    assert (dry.status, dry.count("would be stored")) == (0, len(old.media)), dry
    assert not any(path.is_file() for path in new.store.rglob("*"))
    back = run(*to_new, "-generateThumbnails")
    assert (back.status, back.count("stored")) == (0, len(old.media)), back
    again = run(*to_new)
    assert (again.status, again.count("known")) == (0, len(old.media)), again
    for stored in old.media:
        check_there(new, stored)
    after = new.open_database()
    assert after.rows(ROWS) == wanted
    after.close()
    picture = old.media[0].mxc.removeprefix("mxc://")
    for size in ("width=96&height=96&method=crop", "width=320&height=240&method=scale"):
        thumbnail = new.request(
            "GET", f"/_matrix/client/v1/media/thumbnail/{picture}?{size}"
        )
        assert thumbnail.status == 200, thumbnail
        assert thumbnail.body.startswith(b"\x89PNG")


def test_through_an_archive(homes: Homes, tmp_path: Path) -> None:
    old, new = homes.old, homes.new
    old.start()
    old.fill()
    old.synapse.stop()
    parts = tmp_path / "archive"
    made = run(
        *("export_synapse_for_import", "--homeserver-config", old.config),
        *("-destination", parts, "-partSize", 1000),
    )
    assert made.status == 0, made

    new.start()
    to_new = ("import_to_synapse", "--homeserver-config", new.config)
    to_new = (*to_new, "-directory", parts)
    moving = [each for each in old.media if each.user and not each.is_quarantined]
    dry = run(*to_new, "--dry-run")
    assert (dry.status, dry.count("would be stored")) == (0, len(moving)), dry
    done = run(*to_new, "-generateThumbnails", "-authenticated")
    assert (done.status, done.count("stored")) == (0, len(moving)), done
    again = run(*to_new)
    assert (again.status, again.count("known")) == (0, len(moving)), again
    for stored in moving:
        check_there(new, stored)
        path = stored.mxc.removeprefix("mxc://")
        frozen = http_request(
            new.synapse.port, "GET", f"/_matrix/media/v3/download/{path}", None, {}
        )
        assert frozen.status == 404


def test_over_synapses_own_api(homes: Homes) -> None:
    old, server = homes.old, homes.server
    old.start()
    old.fill()
    database = ("--database", f"sqlite:{old.synapse.folder}/homeserver.db")
    if (options := old.postgres) is not None:
        database = (
            *("-dbHost", options["host"], "-dbPort", options["port"]),
            *("-dbUsername", options["user"], "-dbName", options["dbname"]),
            *("-dbPassword", "any"),
        )
    flags = ("import_synapse", "-config", server.config_path, *database)
    flags = (*flags, "--base-url", old.synapse.url, "--remote", "-workers", "3")

    bad = sum(stored.is_quarantined for stored in old.media)
    user = run(*flags, environment={"HOMESERVER_ACCESS_TOKEN": old.alice})
    assert (user.status, user.count("failed")) == (1, bad), user
    assert user.count("stored") == len(old.media) - bad
    for line in user.out.splitlines():
        word, mxc, reason = line.split("\t")
        assert word == "failed"
        assert any(each.mxc == mxc and each.is_quarantined for each in old.media)
        assert old.synapse.url in reason

    admin = run(*flags, "--access-token", old.admin)
    assert (admin.status, admin.count("stored")) == (0, bad), admin
    verified = run(*flags, "--verify", "--access-token", old.admin)
    assert (verified.status, verified.count("equal")) == (0, len(old.media)), verified

    wrong = run(*flags, "--verify", "--access-token", "nonsense")
    assert wrong.status == 2
    assert "401 M_UNKNOWN_TOKEN" in wrong.log
