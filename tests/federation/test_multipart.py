"""The multipart reader: any content, any split, every dialect; nothing hostile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mmr.federation.multipart import (
    MAX_HEADER_BYTES,
    MAX_JSON_BYTES,
    MAX_PREAMBLE_BYTES,
    MultipartError,
    boundary_of,
    open_envelope,
)

R = TypeVar("R")

_TYPE = "multipart/mixed; boundary=gc0p4Jq0M2Yt08jU534c0p"
_BOUNDARY = b"gc0p4Jq0M2Yt08jU534c0p"


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run what never waits."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: R = stop.value
        return result
    raise AssertionError("it waits")


async def pieces(data: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    start = 0
    for end in [*sorted(cuts), len(data)]:
        yield data[start:end]
        start = max(start, end)


async def read(content_type: str, chunks: AsyncIterator[bytes]) -> tuple[Any, bytes]:
    envelope = await open_envelope(content_type, chunks)
    return envelope.headers, b"".join([piece async for piece in envelope.body])


def read_whole(data: bytes, cuts: list[int] | None = None) -> tuple[Any, bytes]:
    return run(read(_TYPE, pieces(data, cuts or [])))


@attrs.frozen
class Dialect:
    """How a server writes its envelopes."""

    line_end: bytes = b"\r\n"
    before: bytes = b""
    json_headers: bytes | None = b"Content-Type: application/json"
    json: bytes = b"{}"
    padding: bytes = b""
    after: bytes = b"\r\n"

    def write(self, content: bytes, headers: list[bytes]) -> bytes:
        end = self.line_end
        line = b"--" + _BOUNDARY + self.padding + end
        first = b"" if self.json_headers is None else self.json_headers + end
        return b"".join(
            [
                *(self.before, line, first, end, self.json, end, line),
                *(header + end for header in headers),
                *(end, content, end, b"--", _BOUNDARY, b"--", self.after),
            ]
        )


_DIALECTS = st.builds(
    Dialect,
    line_end=st.sampled_from([b"\r\n", b"\n"]),
    before=st.sampled_from([b"", b"\r\n", b"\n", b"This is MIME.\r\n", b"--\n\n"]),
    json_headers=st.sampled_from(
        [None, b"content-type:application/json; charset=utf-8", b"X-Other: 1"]
    ),
    json=st.sampled_from([b"{}", b"", b'{"some": ["day"]}\n']),
    padding=st.sampled_from([b"", b" \t"]),
    after=st.sampled_from([b"", b"\r\n", b"\n", b"epilogue\r\n--" + _BOUNDARY]),
)
_CONTENT = st.one_of(
    st.binary(max_size=200),
    # What looks like the beginning of an end.
    st.lists(
        st.sampled_from([b"\r", b"\n", b"-", b"--", _BOUNDARY[:-1], b"\r\n--", b"x"])
    ).map(b"".join),
)


@given(_CONTENT, _DIALECTS, st.data())
def test_any_content_in_any_dialect_and_any_split(
    content: bytes, dialect: Dialect, data: st.DataObject
) -> None:
    """R59."""
    assume(_BOUNDARY not in content)
    sent = dialect.write(content, [b"Content-Type: image/png"])
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=8))
    headers, received = read_whole(sent, cuts)
    assert headers == {"content-type": "image/png"}
    assert received == content


@given(_CONTENT, _DIALECTS)
def test_a_split_at_every_byte(content: bytes, dialect: Dialect) -> None:
    """R59."""
    assume(_BOUNDARY not in content)
    sent = dialect.write(content, [])
    assert read_whole(sent, list(range(len(sent)))) == ({}, content)


@given(_CONTENT, _DIALECTS, st.data())
def test_a_body_that_is_cut_short_is_an_error(
    content: bytes, dialect: Dialect, data: st.DataObject
) -> None:
    """R59: nothing of it may be stored."""
    assume(_BOUNDARY not in content)
    sent = dialect.write(content, [])
    whole = len(sent) - len(dialect.after)
    cut = data.draw(st.integers(0, whole - 1))
    with pytest.raises(MultipartError):
        read_whole(sent[:cut])


@given(st.binary(max_size=300), _DIALECTS, st.integers(0, 400), st.binary(max_size=5))
def test_damage_is_an_error_or_read_to_its_end(
    content: bytes, dialect: Dialect, place: int, damage: bytes
) -> None:
    """R59: never a hang, never another exception."""
    sent = bytearray(dialect.write(content, [b"Content-Type: image/png"]))
    sent[place : place + len(damage)] = damage
    try:
        read_whole(bytes(sent), [10, 100])
    except MultipartError:
        pass


@given(st.binary(max_size=300))
def test_garbage_is_an_error(garbage: bytes) -> None:
    with pytest.raises(MultipartError):
        read_whole(garbage)


def test_the_headers_of_the_media_part() -> None:
    headers = [
        b"Content-Type: image/png",
        b"CONTENT-DISPOSITION:\tinline;",
        b"  filename=a.png",
        b"content-type: text/html",
    ]
    found, _ = read_whole(Dialect().write(b"x", headers))
    assert found == {
        "content-type": "image/png",
        "content-disposition": "inline;  filename=a.png",
    }


def test_a_part_may_end_right_after_its_headers() -> None:
    """A ``Location`` part as some servers write it: no body, no line for it."""
    end = b"\r\n--" + _BOUNDARY
    sent = end + b"\r\n\r\n{}" + end + b"\r\nLocation: https://x/y\r\n" + end + b"--"
    assert read_whole(sent) == ({"location": "https://x/y"}, b"")


def _envelope(*parts: bytes) -> bytes:
    line = b"--" + _BOUNDARY
    return b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--"


_JSON = b"Content-Type: application/json\r\n\r\n{}"


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (_JSON,),
        (_JSON, b"\r\nmedia", b"\r\nmore"),
        (b"Content-Type: text/html\r\n\r\n{}", b"\r\nmedia"),
        (b"\r\n[]", b"\r\nmedia"),
        (b"\r\n" + b"[" * 60_000, b"\r\nmedia"),
        (b"\r\n{", b"\r\nmedia"),
        (b"no header\r\n\r\n{}", b"\r\nmedia"),
        (_JSON, b"Bad Name: x\r\n\r\nmedia"),
        (b"\r\n" + b" " * (MAX_JSON_BYTES + 1), b"\r\nmedia"),
        (_JSON, b"A: " + b"x" * MAX_HEADER_BYTES + b"\r\n\r\nmedia"),
        (_JSON, b"A: x\r\n" * (MAX_HEADER_BYTES // 6 + 1) + b"\r\nmedia"),
    ],
)
def test_anything_but_two_proper_parts_is_an_error(parts: tuple[bytes, ...]) -> None:
    """R59."""
    with pytest.raises(MultipartError):
        read_whole(_envelope(*parts))


def _endless(first: bytes) -> Iterator[bytes]:
    yield first
    for _ in range(1000):
        yield b"x" * 1000
    raise AssertionError("read on and on")


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"--" + _BOUNDARY + b"\r\n",
        b"--" + _BOUNDARY + b"\r\nA: ",
        b"--" + _BOUNDARY + b"\r\n\r\n",
        b"--" + _BOUNDARY + b"\r\n\r\n{}\r\n--" + _BOUNDARY + b"\r\nA: ",
    ],
)
def test_what_never_ends_is_not_read_to_its_end(first: bytes) -> None:
    """R59: a preamble, a header, a JSON part without an end."""

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in _endless(first):
            yield chunk

    with pytest.raises(MultipartError):
        run(read(_TYPE, chunks()))


def test_a_preamble_within_its_bound() -> None:
    preamble = b"x" * (MAX_PREAMBLE_BYTES - 2) + b"\r\n"
    assert read_whole(preamble + _envelope(_JSON, b"\r\nmedia"))[1] == b"media"


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/mixed; boundary=abc", b"abc"),
        ('Multipart/Mixed;charset=utf-8;BOUNDARY="a b:c"', b"a b:c"),
        ('multipart/mixed; boundary="a\\bc" ; x=y', b"abc"),
        ("multipart/mixed; boundary=" + "a" * 70, b"a" * 70),
    ],
)
def test_the_boundary(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "image/png",
        "multipart/mixed",
        "multipart/mixed; boundary=",
        'multipart/mixed; boundary=""',
        'multipart/mixed; boundary="a "',
        'multipart/mixed; boundary="a\nb"',
        "multipart/mixed; boundary=ü",
        "multipart/mixed; boundary=" + "a" * 71,
        "multipart/form-data; boundary=abc",
    ],
)
def test_no_usable_boundary(content_type: str) -> None:
    """R59."""
    with pytest.raises(MultipartError):
        boundary_of(content_type)
