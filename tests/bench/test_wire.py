"""The client of the bench reads answers as servers really send them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from benchmarks.errors import BenchError
from benchmarks.wire import Connection, request_head

_HEAD = request_head("GET", "/", {"Host": "localhost"})


@pytest.fixture
def server() -> Iterator[tuple[Connection, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(listener.getsockname()[1])
        peer, _ = listener.accept()
        with peer:
            yield connection, peer
        connection.close()


def _later(peer: socket.socket, *pieces: bytes) -> None:
    def send() -> None:
        for piece in pieces:
            peer.sendall(piece)

    threading.Thread(target=send).start()


def test_a_sized_body_may_come_in_pieces(
    server: tuple[Connection, socket.socket],
) -> None:
    connection, peer = server
    _later(peer, b"HTTP/1.1 200 OK\r\nContent-", b"Length: 6\r\n\r\nabc", b"def")

    answer = connection.exchange(_HEAD)

    assert (answer.status, answer.body, answer.length) == (200, b"abcdef", 6)


def test_chunks_are_joined_and_the_next_answer_starts_after_them(
    server: tuple[Connection, socket.socket],
) -> None:
    connection, peer = server
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    _later(peer, chunked + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert connection.exchange(_HEAD).body == b"abcde"

    _later(peer, b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
    assert connection.exchange(_HEAD).status == 404


def test_a_304_has_no_body_whatever_its_length_says(
    server: tuple[Connection, socket.socket],
) -> None:
    connection, peer = server
    _later(peer, b'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: "x"\r\n\r\n')

    answer = connection.exchange(_HEAD)

    assert (answer.status, answer.length, answer.headers["etag"]) == (304, 0, '"x"')


def test_a_broken_off_answer_is_an_error(
    server: tuple[Connection, socket.socket],
) -> None:
    connection, peer = server
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
    peer.close()

    with pytest.raises(BenchError, match="closed"):
        connection.exchange(_HEAD)


def test_a_request_carries_its_headers_and_length() -> None:
    head = request_head("POST", "/up?x=1", {"Host": "h", "A": "b"}, 12)

    assert (
        head
        == b"POST /up?x=1 HTTP/1.1\r\nHost: h\r\nA: b\r\nContent-Length: 12\r\n\r\n"
    )
