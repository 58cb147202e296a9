"""Downloading from a homeserver: its refusals are told apart, its connections kept."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from mmr.errors import StartupError
from mmr.interop.homeserver_downloads import HomeserverDownloads
from mmr.interop.sources import SourceBusy, SourceError
from mmr.types import Mxc

MXC = Mxc("media.example", "abc")
PATH = "/_matrix/client/v1/media/download/media.example/abc"
LEGACY_PATH = "/_matrix/media/v3/download/media.example/abc"


class Stub(http.server.BaseHTTPRequestHandler):
    """Answers what the test says; remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    answer: ClassVar[Callable[[Stub], None]]
    asked: ClassVar[list[tuple[str, str | None]]]
    peers: ClassVar[set[Any]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        self.peers.add(self.client_address)
        type(self).answer(self)

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", headers.pop("length", str(len(body))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, errcode: str, **more: Any) -> None:
        self.reply(status, json.dumps({"errcode": errcode, **more}).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def stub() -> Iterator[str]:
    Stub.asked, Stub.peers = [], set()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    server.daemon_threads = True
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}
    )
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def get(base_url: str, token: str | None = "secret", **more: bool) -> bytes:
    downloads = HomeserverDownloads(base_url, token, timeout_s=5)
    try:
        return b"".join(downloads.chunks(MXC, **more))
    finally:
        downloads.close()


def test_a_token_opens_the_authenticated_route(stub: str) -> None:
    content = os.urandom(600_000)
    Stub.answer = lambda self: self.reply(200, content)
    assert get(stub + "/") == content
    assert Stub.asked == [(PATH, "Bearer secret")]


def test_without_a_token_the_legacy_route_is_asked(stub: str) -> None:
    Stub.answer = lambda self: self.reply(200, b"content")
    assert get(stub, None) == b"content"
    assert Stub.asked == [(LEGACY_PATH, None)]


def test_an_old_homeserver_is_asked_on_the_legacy_route_from_then_on(stub: str) -> None:
    def answer(self: Stub) -> None:
        if self.path.startswith("/_matrix/client"):
            self.refuse(404, "M_UNRECOGNIZED")
        else:
            self.reply(200, b"content")

    Stub.answer = answer
    downloads = HomeserverDownloads(stub, "secret")
    for _ in range(2):
        assert b"".join(downloads.chunks(MXC)) == b"content"
    downloads.close()
    assert [path for path, _ in Stub.asked] == [PATH, LEGACY_PATH, LEGACY_PATH]


def test_connections_are_kept(stub: str) -> None:
    Stub.answer = lambda self: self.reply(200, b"content")
    downloads = HomeserverDownloads(stub, "secret")
    for _ in range(5):
        assert b"".join(downloads.chunks(MXC)) == b"content"
    downloads.close()
    assert len(Stub.peers) == 1


def test_quarantined_media_is_asked_for_as_an_admin_may(stub: str) -> None:
    Stub.answer = lambda self: self.reply(200, b"bad")
    assert get(stub, is_quarantined=True) == b"bad"
    assert Stub.asked[0][0] == f"{PATH}?admin_unsafely_bypass_quarantine=true"


def test_ids_are_one_path_segment_each(stub: str) -> None:
    """R76: an id can't lead to another route."""
    Stub.answer = lambda self: self.reply(200, b"")
    downloads = HomeserverDownloads(stub, "secret")
    list(downloads.chunks(Mxc("[::1]:8448", "a/../b?c#d")))
    downloads.close()
    assert Stub.asked[0][0].endswith("/%5B%3A%3A1%5D%3A8448/a%2F..%2Fb%3Fc%23d")
    with pytest.raises(SourceError, match="can't be asked for"):
        list(downloads.chunks(Mxc("media.example", "..")))


def test_a_refused_token_ends_the_run(stub: str) -> None:
    Stub.answer = lambda self: self.refuse(401, "M_UNKNOWN_TOKEN")
    with pytest.raises(StartupError, match="401 M_UNKNOWN_TOKEN: the access token"):
        get(stub)


def test_missing_media_is_one_medias_fault(stub: str) -> None:
    Stub.answer = lambda self: self.refuse(404, "M_NOT_FOUND")
    with pytest.raises(SourceError, match="404 M_NOT_FOUND") as caught:
        get(stub)
    assert not isinstance(caught.value, SourceBusy)
    with pytest.raises(SourceError, match="needs -accessToken"):
        get(stub, None)


def test_a_busy_homeserver_says_when_to_come_back(stub: str) -> None:
    Stub.answer = lambda self: self.refuse(429, "M_LIMIT_EXCEEDED", retry_after_ms=1500)
    with pytest.raises(SourceBusy) as caught:
        get(stub)
    assert caught.value.wait_s == 1.5
    Stub.answer = lambda self: self.reply(503, b"<html>", Retry_After="7")
    with pytest.raises(SourceBusy) as caught:
        get(stub)
    assert caught.value.wait_s == 7
    Stub.answer = lambda self: self.reply(503, b"[]", Retry_After="99999999")
    with pytest.raises(SourceBusy) as caught:
        get(stub)
    assert caught.value.wait_s == 60


def test_an_answer_that_ends_early_is_no_answer(stub: str) -> None:
    def answer(self: Stub) -> None:
        self.reply(200, b"half", length="8")
        self.close_connection = True

    Stub.answer = answer
    with pytest.raises(SourceBusy, match="4 bytes early"):
        get(stub)


def test_a_homeserver_that_is_away_is_named() -> None:
    with pytest.raises(SourceBusy, match=r"http://127\.0\.0\.1:9: .*refused"):
        get("http://127.0.0.1:9")


@pytest.mark.parametrize("url", ["localhost:8008", "ftp://localhost", "http://"])
def test_what_is_no_address_is_named_at_once(url: str) -> None:
    with pytest.raises(StartupError, match="expected http://HOST:PORT"):
        HomeserverDownloads(url, None)
