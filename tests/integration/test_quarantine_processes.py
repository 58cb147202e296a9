"""Quarantine at one ``twistd mmr``, clients at the other, whatever Redis does."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from mmr.crypto.keys import SigningKey
from mmr.crypto.signing import canonical_json
from mmr.crypto.x_matrix import XMatrix, request_object

from tests.harness import png
from tests.integration.federation import CA, Address, KeyPublisher
from tests.integration.process import poll
from tests.integration.server import SERVER_NAME, Answer, Server
from tests.postgres import create_database
from tests.redis import RedisServer

SECRET = "a-shared-secret-of-some-length"
SECONDS = 5.0
LARGE_BYTES = 24 << 20
KEY = SigningKey("remote", b"r" * 32)
CLIENT = "/_matrix/client/v1/media"
_LEGACY = tuple(f"/_matrix/media/{version}" for version in ("r0", "v1", "v3"))
_SIZES = ("width=32&height=32&method=crop", "width=96&height=96&method=crop")


class Remote:
    """Another homeserver, which signs what it asks."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        address = Address(folder)
        self.name = address.name
        self._publisher = KeyPublisher(self.name, KEY)
        self._front = address.front(None, self._publisher.url)
        self._front.start()

    def headers(self, target: str) -> dict[str, str]:
        signed = canonical_json(request_object("GET", target, self.name, SERVER_NAME))
        entry = XMatrix(self.name, SERVER_NAME, KEY.key_id, KEY.sign(signed))
        return {"Authorization": entry.header().decode()}

    def stop(self) -> None:
        self._front.stop()
        self._publisher.stop()


@attrs.frozen
class Ask:
    """One way to come by the bytes."""

    method: str
    path: str
    headers: dict[str, str]
    is_signed: bool = False

    def at(self, server: Server, remote: Remote) -> Answer:
        headers, token = self.headers, server.token
        if self.is_signed:
            headers, token = {**headers, **remote.headers(self.path)}, ""
        return server.request(self.method, self.path, headers=headers, token=token)


def ways(mxc: str, sha256: str) -> Iterator[Ask]:
    """Every route that gives out bytes of a media, or tells about them (R84)."""
    path, media_id = mxc.removeprefix("mxc://"), mxc.rpartition("/")[2]
    for prefix in (CLIENT, *_LEGACY):
        download = f"{prefix}/download/{path}"
        yield Ask("GET", download, {})
        yield Ask("GET", f"{download}/name.png", {})
        yield Ask("HEAD", download, {})
        yield Ask("GET", download, {"Range": "bytes=0-3"})
        yield Ask("GET", download, {"Range": "bytes=-3", "If-Range": f'"{sha256}"'})
        yield Ask("GET", download, {"If-None-Match": f'"{sha256}"'})
        for size in _SIZES:
            yield Ask("GET", f"{prefix}/thumbnail/{path}?{size}", {})
    yield Ask("GET", f"/_matrix/media/unstable/info/{path}", {})
    federation = "/_matrix/federation/v1/media"
    yield Ask("GET", f"{federation}/download/{media_id}", {}, is_signed=True)
    yield Ask(
        "GET", f"{federation}/thumbnail/{media_id}?{_SIZES[0]}", {}, is_signed=True
    )
    raw = f"/_matrix/federation/v1/remote_media/download/{path}"
    yield Ask("GET", raw, {}, is_signed=True)
    yield Ask("GET", raw, {"Range": "bytes=0-3"}, is_signed=True)


class SlowReader:
    """A client that has asked for a large media and reads no more than the start."""

    def __init__(self, server: Server, mxc: str, remote: Remote | None = None) -> None:
        path = f"{CLIENT}/download/{mxc.removeprefix('mxc://')}"
        headers = {"Authorization": f"Bearer {server.token}"}
        if remote is not None:
            path = f"/_matrix/federation/v1/media/download/{mxc.rpartition('/')[2]}"
            headers = remote.headers(path)
        lines = [f"GET {path} HTTP/1.1", f"Host: {SERVER_NAME}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self._socket.connect(("127.0.0.1", server.port))
        self._socket.settimeout(30)
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert b" 200 " in self._socket.recv(2000)

    def rest(self) -> int:
        """How many bytes come until the connection ends."""
        count = 0
        try:
            while data := self._socket.recv(1 << 20):
                count += len(data)
        except ConnectionResetError:
            pass
        self._socket.close()
        return count


class Pair:
    """Two processes that differ in their port and machine id only."""

    def __init__(
        self, make: Callable[..., Server], folder: Path, redis: RedisServer | None
    ) -> None:
        self.remote = Remote(folder / "remote")
        self.redis = redis
        store = {
            "type": "file",
            "id": "main",
            "forKinds": ["all"],
            "opts": {"path": str(folder / "media")},
        }
        shards = [{"name": "one", "addr": redis.address}] if redis else []
        changes = {
            "database": {"sqlite": None, "postgres": create_database()},
            "redis": {"enabled": redis is not None, "shards": shards},
            "datastores": [store],
            "sharedSecretAuth": {"enabled": True, "token": SECRET},
            "downloads": {"cache": {"enabled": True, "minDownloads": 1}},
            "quarantine": {"replaceThumbnails": False},
            "uploads": {"minBytes": 0},
            "federation": {
                "exemptNetworks": ["127.0.0.0/8"],
                "caFile": str(CA.write(folder / "ca.pem")),
                "notaries": [],
            },
        }
        self.servers = [make(changes, {"MACHINE_ID": str(n)}) for n in range(2)]
        token = self.servers[0].token
        for server in self.servers:
            appservice = server.config["accessTokens"]["appservices"][0]
            server.token = appservice["asToken"] = token
            server.write_config()
            server.start()

    def order(self, path: str, at: int = 0) -> Any:
        path = f"/_matrix/media/unstable/admin/{path}"
        answer = self.servers[at].request("POST", path, token=SECRET)
        assert answer.status == 200, answer
        return answer.json

    def check(self, number: int, mxc: str, sha256: str, statuses: set[int]) -> None:
        """Ask one process in every way."""
        for ask in ways(mxc, sha256):
            answer = ask.at(self.servers[number], self.remote)
            assert answer.status in statuses, (number, ask, answer)

    def is_refused(self, number: int, mxc: str, sha256: str) -> bool:
        return all(
            ask.at(self.servers[number], self.remote).status == 404
            for ask in ways(mxc, sha256)
        )

    def stop(self) -> None:
        self.remote.stop()
        for server in self.servers:
            server.child.kill()


@pytest.fixture(params=["up", "killed", "silent", "not configured"])
def pair(
    request: pytest.FixtureRequest, make_server: Callable[..., Server], tmp_path: Path
) -> Iterator[tuple[Pair, str]]:
    redis = None
    if request.param != "not configured":
        redis = RedisServer()
        redis.start()
    made = Pair(make_server, tmp_path, redis)
    yield made, request.param
    made.stop()
    if redis is not None:
        redis.remove()


def test_quarantined_content_is_given_out_by_no_process(
    pair: tuple[Pair, str],
) -> None:
    """R84, R85, R86: warm or cold, running or new, in every shape."""
    both, state = pair
    picture, large = png(640, 480), os.urandom(LARGE_BYTES)
    sha256 = hashlib.sha256(picture).hexdigest()
    mine = both.servers[0].upload(picture, "image/png")
    copy = both.servers[1].request(
        "POST",
        "/_matrix/media/v3/upload?filename=copy.png",
        picture,
        headers={"Content-Type": "image/png"},
    )
    copies = [mine, copy.json["content_uri"]]
    assert len(set(copies)) == 2
    video = both.servers[0].upload(large, "video/mp4")
    for number in (0, 1):
        for mxc in copies:
            for _ in range(2):
                both.check(number, mxc, sha256, {200, 206, 304})
    assert SlowReader(both.servers[0], video).rest() > LARGE_BYTES - 2000
    readers = [
        SlowReader(server, video, remote)
        for server in both.servers
        for remote in (None, both.remote)
    ]
    if both.redis is not None and state == "killed":
        both.redis.kill()
    if both.redis is not None and state == "silent":
        both.redis.pause()

    found = both.order(f"quarantine/{mine.removeprefix('mxc://')}")
    for mxc in copies:
        both.check(0, mxc, sha256, {404})
    assert found["num_quarantined"] == 2
    started = time.monotonic()
    poll(
        lambda: all(both.is_refused(1, mxc, sha256) for mxc in copies),
        "quarantine at the other process",
        SECONDS,
    )
    assert time.monotonic() - started < SECONDS + 1

    both.order(f"quarantine/{video.removeprefix('mxc://')}")
    # What the kernel has taken may still come; half of the file it can't have.
    for reader in readers[:2]:
        assert reader.rest() < LARGE_BYTES // 2
    time.sleep(SECONDS)
    for reader in readers[2:]:
        assert reader.rest() < LARGE_BYTES // 2

    for server in both.servers:
        again = server.request("POST", "/_matrix/media/v3/upload", picture)
        assert again.status == 403, again
        created = server.request("POST", "/_matrix/media/v1/create")
        path = created.json["content_uri"].removeprefix("mxc://")
        answer = server.request("PUT", f"/_matrix/media/v3/upload/{path}", picture)
        assert answer.status == 403, answer

    # What Redis may still have, or hears of late, changes nothing.
    if both.redis is not None and state == "killed":
        both.redis.start()
    if both.redis is not None and state == "silent":
        both.redis.resume()
    time.sleep(1)
    for number in (0, 1):
        for mxc in copies:
            both.check(number, mxc, sha256, {404})

    both.order(f"unquarantine/{mine.removeprefix('mxc://')}", at=1)
    both.check(1, mine, sha256, {200, 206, 304})
