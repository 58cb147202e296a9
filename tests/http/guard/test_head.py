"""Response heads: strict, and limited."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.http.guard.errors import FetchFailed, Step
from mmr.http.guard.head import ResponseHead, parse_head


def parse(*lines: bytes, **options: bool) -> ResponseHead:
    return parse_head(b"\r\n".join(lines), **options)


def test_headers_are_lists_by_lower_case_name() -> None:
    head = parse(b"HTTP/1.1 200 OK", b"X-A:  b \t", b"x-a:\xe9", b"Content-Length: 3")
    assert head.status == 200
    assert head.headers["x-a"] == ["b", "\xe9"]
    assert (head.length, head.is_chunked, head.is_persistent) == (3, False, True)


@pytest.mark.parametrize(
    ("lines", "length", "is_chunked", "is_persistent"),
    [
        ([b"HTTP/1.1 200"], None, False, False),
        ([b"HTTP/1.1 200 ", b"Transfer-Encoding: Chunked"], None, True, True),
        ([b"HTTP/1.1 204 x"], 0, False, True),
        ([b"HTTP/1.1 304 x", b"Content-Length: 9"], 0, False, True),
        ([b"HTTP/1.0 200 x", b"Content-Length: 9"], 9, False, False),
        (
            [b"HTTP/1.0 200 x", b"Content-Length: 9", b"Connection: Keep-Alive"],
            9,
            False,
            True,
        ),
        (
            [b"HTTP/1.1 200 x", b"Content-Length: 9", b"Connection: x, Close"],
            9,
            False,
            False,
        ),
        ([b"HTTP/1.1 103 x", b"Link: </x>"], 0, False, True),
    ],
)
def test_end_of_the_body_is_known_before_it_begins(
    lines: list[bytes], length: int | None, is_chunked: bool, is_persistent: bool
) -> None:
    head = parse(*lines)
    assert (head.length, head.is_chunked) == (length, is_chunked)
    assert head.is_persistent == is_persistent


def test_answer_to_head_has_no_body() -> None:
    head = parse(b"HTTP/1.1 200 x", b"Content-Length: 9", is_answer_to_head=True)
    assert (head.length, head.headers["content-length"]) == (0, ["9"])


@pytest.mark.parametrize(
    "lines",
    [
        [b"HTTP/2 200 OK"],
        [b"HTTP/1.2 200 OK"],
        [b"http/1.1 200 OK"],
        [b"HTTP/1.1  200 OK"],
        [b"HTTP/1.1 099 x"],
        [b"HTTP/1.1 600 x"],
        [b"HTTP/1.1 2000"],
        [b"HTTP/1.1 20"],
        [b"ICY 200 OK"],
        [b""],
        [b"HTTP/1.1 101 Switching Protocols"],
        [b"HTTP/1.1 200 O\x00K"],
        [b"HTTP/1.1 200 OK", b"no colon"],
        [b"HTTP/1.1 200 OK", b"space : x"],
        [b"HTTP/1.1 200 OK", b" folded: x"],
        [b"HTTP/1.1 200 OK", b": x"],
        [b"HTTP/1.1 200 OK", b"a: b\rc: d"],
        [b"HTTP/1.1 200 OK", b"a: b\nc: d"],
        [b"HTTP/1.1 200 OK", b"a: b\x00"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 5", b"Content-Length: 5"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 5, 5"],
        [b"HTTP/1.1 200 OK", b"Content-Length: +5"],
        [b"HTTP/1.1 200 OK", b"Content-Length: -5"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 0x5"],
        [b"HTTP/1.1 200 OK", b"Content-Length: "],
        [b"HTTP/1.1 200 OK", b"Content-Length: \xb2"],
        [b"HTTP/1.1 200 OK", b"Content-Length: " + b"9" * 16],
        [b"HTTP/1.1 200 OK", b"Transfer-Encoding: gzip, chunked"],
        [b"HTTP/1.1 200 OK", b"Transfer-Encoding: identity"],
        [b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked"],
        [b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        [b"HTTP/1.1 200 OK", *[b"a: b"] * 200],
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(lines: list[bytes]) -> None:
    """R16."""
    with pytest.raises(FetchFailed) as caught:
        parse(*lines)
    assert caught.value.step is Step.HEADERS


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(block: bytes) -> None:
    """R16: nothing else happens."""
    for data in (block, b"HTTP/1.1 200 OK\r\n" + block):
        with contextlib.suppress(FetchFailed):
            parse_head(data)
