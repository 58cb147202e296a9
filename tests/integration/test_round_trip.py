"""Upload, download, thumbnail on both engines, through a real process."""

from __future__ import annotations

import concurrent.futures
import os

from tests.integration.images import SAMPLE, size_of
from tests.integration.inside import recorded, sweep
from tests.integration.server import SERVER_NAME, Server

_ETAG = "ETag"


def test_what_was_uploaded_is_served_before_and_after_a_restart(
    engine: Server,
) -> None:
    engine.start()
    picture = SAMPLE.read_bytes()
    mxc = engine.upload(picture, "image/jpeg")
    assert mxc.startswith(f"mxc://{SERVER_NAME}/")

    for _ in range(2):
        answer = engine.download(mxc)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert answer.body == picture
        unchanged = {"If-None-Match": answer.headers[_ETAG]}
        assert engine.download(mxc, headers=unchanged).status == 304
        part = engine.download(mxc, headers={"Range": "bytes=100-199"})
        assert part.status == 206
        assert part.body == picture[100:200]
        assert thumbnail_size(engine, mxc) == (320, 240)
        engine.stop()
        engine.start()


def thumbnail_size(server: Server, mxc: str) -> tuple[int, int]:
    """Fetch a 320x240 thumbnail and measure it."""
    path = mxc.removeprefix("mxc://")
    answer = server.request(
        "GET",
        f"/_matrix/client/v1/media/thumbnail/{path}?width=320&height=240&method=scale",
    )
    assert answer.status == 200, answer
    return size_of(answer.body)


def test_many_uploads_at_once_are_all_whole(engine: Server) -> None:
    engine.start()
    bodies = [os.urandom(1000 + 40_000 * number) for number in range(24)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        uris = list(pool.map(engine.upload, bodies))
        assert len(set(uris)) == len(bodies)
        answers = list(pool.map(engine.download, uris))
    assert [answer.body for answer in answers] == bodies


def test_the_same_bytes_are_stored_once_even_when_they_race(engine: Server) -> None:
    """R101: one object, no error, however the uploads interleave."""
    engine.start()
    body = os.urandom(200_000)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        uris = list(pool.map(engine.upload, [body] * 16))
    assert all(engine.download(uri).body == body for uri in set(uris))
    engine.stop()
    sweep(engine)
    assert len(recorded(engine)) == 1
    assert engine.objects() == recorded(engine)


def test_a_body_of_unknown_length_is_taken(engine: Server) -> None:
    engine.start()
    pieces = [os.urandom(70_000) for _ in range(20)]
    answer = engine.request("POST", "/_matrix/media/v3/upload", iter(pieces))
    assert answer.status == 200, answer
    assert engine.download(answer.json["content_uri"]).body == b"".join(pieces)


def test_a_reserved_id_is_filled_later(engine: Server) -> None:
    engine.start()
    created = engine.request("POST", "/_matrix/media/v1/create", b"").json
    mxc = str(created["content_uri"])
    assert engine.download(f"{mxc}?timeout_ms=100").status == 504
    path = mxc.removeprefix("mxc://")
    body = os.urandom(5000)
    answer = engine.request("PUT", f"/_matrix/media/v3/upload/{path}", body)
    assert answer.status == 200, answer
    assert engine.download(mxc).body == body
    again = engine.request("PUT", f"/_matrix/media/v3/upload/{path}", body)
    assert (again.status, again.json["errcode"]) == (409, "M_CANNOT_OVERWRITE_MEDIA")


def test_a_refused_upload_leaves_nothing(engine: Server) -> None:
    """Too large by declaration, too large by the stream, aborted, unknown token."""
    engine.write_config({"uploads": {"maxBytes": 100_000}})
    engine.start()
    large = b"x" * 200_000
    upload = "/_matrix/media/v3/upload"
    assert engine.request("POST", upload, large).status == 413
    assert engine.request("POST", upload, iter([large])).status == 413
    assert engine.request("POST", upload, b"y" * 5000, token="wrong").status >= 400
    assert engine.request("POST", upload, b"y" * 5000, token="").status == 401
    assert engine.objects() == set()
