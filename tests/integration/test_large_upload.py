"""A large body streams through, whatever it is called (R64)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pytest

from tests.integration.conftest import MakeServer
from tests.integration.server import Server

SIZE = 256 << 20
GROWTH = 16 << 20
_PIECE = os.urandom(1 << 20)


def resident_bytes(server: Server) -> int:
    """What the process holds in memory, at the most so far."""
    with open(f"/proc/{server.child.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def pieces() -> Iterator[bytes]:
    for number in range(SIZE // len(_PIECE)):
        yield number.to_bytes(4, "big") + _PIECE[4:]


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"],
)
def test_forms_are_neither_parsed_nor_held(
    make_server: MakeServer, content_type: str
) -> None:
    server = make_server({"uploads": {"maxBytes": SIZE, "minFreeBytes": 0}})
    server.start()
    # Imports and first allocations of all kinds.
    server.download(server.upload(_PIECE, content_type))
    before = resident_bytes(server)
    answer = server.request(
        "POST",
        "/_matrix/media/v3/upload",
        pieces(),
        headers={"Content-Type": content_type, "Content-Length": str(SIZE)},
    )
    assert answer.status == 200, answer
    grown = resident_bytes(server) - before
    assert grown < GROWTH
    digest = hashlib.sha256()
    for piece in pieces():
        digest.update(piece)
    [path] = [path for path in server.objects() if path.stat().st_size == SIZE]
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == digest.digest()
    path.unlink()
