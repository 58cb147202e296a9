"""Heads that must be understood, and those that must not (R62, R63)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.errors import MatrixError
from mmr.http.head import HeadReader, parse_head
from mmr.http.limits import HttpLimits

LIMITS = HttpLimits()
HOST = b"\r\nHost: example.org"


def parse(block: bytes):  # type: ignore[no-untyped-def]
    return parse_head(block, LIMITS)


def test_a_head_is_read() -> None:
    head = parse(b"POST /a?b=c HTTP/1.1" + HOST + b"\r\nX-Y:  z \r\nContent-Length: 5")

    assert (head.method, head.target, head.is_http11) == (b"POST", b"/a?b=c", True)
    assert head.headers[b"x-y"] == [b"z"]
    assert head.length == 5
    assert head.keep_alive


def test_a_chunked_body_has_no_length() -> None:
    head = parse(b"PUT / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: Chunked")
    assert head.length is None


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"GET / HTTP/1.1" + HOST, True),
        (b"GET / HTTP/1.1" + HOST + b"\r\nConnection: x, Close", False),
        (b"GET / HTTP/1.1" + HOST + b"\r\nConnection: x\r\nConnection: close", False),
        (b"GET / HTTP/1.0", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive", True),
    ],
)
def test_the_client_decides_whether_it_stays(head: bytes, keep_alive: bool) -> None:
    assert parse(head).keep_alive is keep_alive


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET /",
        b"GET  / HTTP/1.1" + HOST,
        b"GET / HTTP/1.1 " + HOST,
        b" GET / HTTP/1.1" + HOST,
        b"G(T / HTTP/1.1" + HOST,
        b"GET" * 9 + b" / HTTP/1.1" + HOST,
        b"GET example.org HTTP/1.1" + HOST,
        b"GET http://example.org/ HTTP/1.1" + HOST,
        b"GET * HTTP/1.1" + HOST,
        b"GET /a\tb HTTP/1.1" + HOST,
        b"GET /\xe4 HTTP/1.1" + HOST,
        b"GET /a#b HTTP/1.1" + HOST,
        b"GET / HTTP/1.1\r\nFoo: bar",
        b"GET / HTTP/1.1" + HOST + HOST,
        b"GET / http/1.1" + HOST,
        b"GET / HTTP/11" + HOST,
        b"GET / HTTP/1.1\nHost: example.org",
        b"GET / HTTP/1.1\rHost: example.org",
        b"GET / HTTP/1.1" + HOST + b"\r\nA: b\nC: d",
        b"GET / HTTP/1.1" + HOST + b"\r\nA: b\rC: d",
        b"GET / HTTP/1.1" + HOST + b"\r\r\n",
        b"GET / HTTP/1.1" + HOST + b"\r\nA: b\0",
        b"GET / HTTP/1.1" + HOST + b"\r\nA\0: b",
        b"GET / HTTP/1.1" + HOST + b"\r\n folded",
        b"GET / HTTP/1.1" + HOST + b"\r\n\tfolded",
        b"GET / HTTP/1.1" + HOST + b"\r\nA : b",
        b"GET / HTTP/1.1" + HOST + b"\r\n: b",
        b"GET / HTTP/1.1" + HOST + b"\r\nno colon",
        b"GET / HTTP/1.1" + HOST + b"\r\nA(: b",
    ],
)
def test_malformed_heads_are_refused(head: bytes) -> None:
    """R63."""
    with pytest.raises(MatrixError) as caught:
        parse(head)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
        b"Content-Length: -5",
        b"Content-Length: 0x5",
        b"Content-Length: 5_0",
        b"Content-Length: 5 5",
        b"Content-Length: \xef\xbc\x95",
        b"Content-Length:",
        b"Content-Length: 1" + b"0" * 15,
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding:",
    ],
)
def test_bodies_of_doubtful_length_are_refused(lines: bytes) -> None:
    """R63: the published smuggling cases."""
    with pytest.raises(MatrixError) as caught:
        parse(b"POST / HTTP/1.1" + HOST + b"\r\n" + lines)
    assert caught.value.status == 400


def test_chunks_are_not_for_http_1_0() -> None:
    with pytest.raises(MatrixError):
        parse(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked")


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9"])
def test_other_versions_are_not_spoken(version: bytes) -> None:
    with pytest.raises(MatrixError) as caught:
        parse(b"GET / " + version + HOST)
    assert caught.value.status == 505


def test_lines_and_targets_are_counted() -> None:
    """R62: at the limit, and one over."""
    start = b"GET / HTTP/1.1" + HOST
    assert parse(start + b"\r\nA: b" * 99)
    with pytest.raises(MatrixError) as caught:
        parse(start + b"\r\nA: b" * 100)
    assert caught.value.status == 431

    assert parse(b"GET /" + b"a" * 8191 + b" HTTP/1.1" + HOST)
    with pytest.raises(MatrixError) as caught:
        parse(b"GET /" + b"a" * 8192 + b" HTTP/1.1" + HOST)
    assert caught.value.status == 414


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(junk: bytes) -> None:
    """R63: nothing else can happen, and what is read has no second meaning."""
    for block in (junk, b"GET / HTTP/1.1" + HOST + b"\r\n" + junk):
        try:
            head = parse(block)
        except MatrixError as error:
            status = error.status
        else:
            status = 200
            for values in head.headers.values():
                assert not set(b"".join(values)) & set(b"\r\n\0")
        assert status in (200, 400, 414, 431, 505)


class TestHeadReader:
    def test_the_same_bytes_are_read_once(self) -> None:
        reader = HeadReader(LIMITS)
        block = b"GET /a HTTP/1.1" + HOST
        assert reader.read(block) is reader.read(bytes(bytearray(block)))

    def test_what_it_keeps_is_bounded(self) -> None:
        """R62: neither many heads nor long ones stay in memory."""
        reader = HeadReader(LIMITS)
        for number in range(1500):
            reader.read(b"GET /%d HTTP/1.1" % number + HOST)
        assert len(reader) == 1000
        newest = reader.read(b"GET /1499 HTTP/1.1" + HOST)
        assert newest.target == b"/1499"
        long = b"GET / HTTP/1.1" + HOST + b"\r\nX: " + b"x" * 3000
        assert reader.read(long) is not reader.read(long)

    def test_heads_of_bodies_and_bad_heads_are_not_kept(self) -> None:
        reader = HeadReader(LIMITS)
        reader.read(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 5")
        with pytest.raises(MatrixError):
            reader.read(b"GET / HTTP/1.1")
        assert len(reader) == 0
