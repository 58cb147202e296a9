"""A real Synapse's media: served where it is and copied later, or in an archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import MakeServer
from tests.integration.inside import rows
from tests.integration.moving import run
from tests.integration.process import poll
from tests.integration.server import Server
from tests.integration.synapse_media import FilledSynapse
from tests.integration.test_moving_synapse import check_content, check_here
from tests.postgres import create_database


@pytest.fixture(params=["sqlite", "postgres"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FilledSynapse]:
    """A running Synapse with some of everything."""
    url = create_database() if request.param == "postgres" else None
    made = FilledSynapse(tmp_path / "old", url)
    made.start()
    made.fill()
    yield made
    made.synapse.stop()


@pytest.fixture
def server(old: FilledSynapse, make_server: MakeServer) -> Server:
    """mmr with a store of its own and Synapse's; not started."""
    settings = {}
    if old.postgres:
        settings = {"database": {"sqlite": None, "postgres": create_database()}}
    made = make_server(settings)
    own = made.config["datastores"]
    store = {"type": "synapse", "id": "synapse", "opts": {"path": str(old.store)}}
    made.write_config({"datastores": [*own, store]})
    return made


def snapshot(old: FilledSynapse) -> dict[Path, tuple[bytes, int]]:
    """All files of the media folder, with their times."""
    files = [path for path in old.store.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def left(server: Server) -> int:
    """Records that point into Synapse's folder."""
    ((count,),) = rows(
        server, "SELECT count(*) FROM media WHERE datastore_id = 'synapse'"
    )
    return int(count)


def test_every_byte_from_the_first_minute_on(
    old: FilledSynapse, server: Server
) -> None:
    before = snapshot(old)
    words = ("adopt_synapse", "-config", server.config_path)
    words += ("--homeserver-config", old.config)
    done = run(*words)
    assert (done.status, done.count("registered")) == (0, len(old.media)), done
    assert done.count("skipped: fetched for URL previews") == 1
    assert done.count("skipped: uploads that never happened") == 1

    server.start()
    for stored in old.media:
        check_here(server, stored)
    assert server.objects() == set(), "nothing was copied"

    # Synapse still takes uploads until the traffic is turned.
    late = old.upload(b"came late", "text/plain", "late.txt")
    done = run(*words, "--transfer-to", server.config["datastores"][0]["id"])
    assert (done.status, done.count("registered")) == (0, 1), done
    assert done.count("known") == len(old.media) - 1
    check_here(server, late)

    def is_over() -> bool:
        for stored in old.media:
            check_here(server, stored)
        return left(server) == 0

    poll(is_over, "the transfer", 120)
    is_over()
    after = snapshot(old)
    assert {path: after[path] for path in before} == before
    for stored in old.media:
        if stored.user and not stored.is_quarantined:
            check_content(stored, old.download(stored.mxc))

    old.synapse.stop()
    server.stop()
    server.write_config({"datastores": server.config["datastores"][:1]})
    old.store.rename(old.store.with_name("gone"))
    server.start()
    for stored in old.media:
        check_here(server, stored)
    # What was there several times is one object now.
    contents = {stored.content for stored in old.media}
    assert len(server.objects()) == len(contents)


def test_a_synapse_that_does_not_run_moves_through_an_archive(
    old: FilledSynapse, make_server: MakeServer, tmp_path: Path
) -> None:
    old.synapse.stop()
    archive = tmp_path / "archive"
    done = run(
        "export_synapse_for_import",
        "--homeserver-config",
        old.config,
        "-destination",
        archive,
        "-partSize",
        500_000,
    )
    media = [each for each in old.media if each.user and not each.is_quarantined]
    assert (done.status, done.count("exported")) == (0, len(media)), done
    server = make_server()
    done = run("gdpr_import", "-config", server.config_path, "-directory", archive)
    assert done.status == 0, done
    server.start()
    for stored in media:
        check_content(stored, server.download(stored.mxc))
