"""One layer of compression, in pieces."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.http.guard.errors import FetchFailed
from mmr.http.guard.expanding import PIECE_BYTES, Expander, content_coding


def expand(coding: str, pieces: list[bytes]) -> bytes:
    expander, out = Expander(coding), b""
    for piece in pieces:
        out += expander.expand(piece)
        while expander.has_more:
            out += expander.expand()
    assert expander.is_complete
    return out


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "raw": raw_deflate,
}


@given(
    st.binary(max_size=2000),
    st.sampled_from(sorted(PACKERS)),
    st.integers(2, 500),
)
def test_gzip_and_both_kinds_of_deflate(data: bytes, kind: str, size: int) -> None:
    packed = PACKERS[kind](data)
    pieces = [packed[i : i + size] for i in range(0, len(packed), size)]
    assert expand("gzip" if kind == "gzip" else "deflate", pieces) == data


def test_bomb_is_expanded_a_piece_at_a_time() -> None:
    """R17: 100 MB in 100 KB never need more than a few pieces."""
    compressor = zlib.compressobj(9, wbits=31)
    block = bytes(1024 * 1024)
    packed = b"".join(compressor.compress(block) for _ in range(100))
    packed += compressor.flush()
    expander = Expander("gzip")
    tracemalloc.start()
    piece = expander.expand(packed)
    while expander.has_more:
        assert len(piece) <= PIECE_BYTES
        piece = expander.expand()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * PIECE_BYTES


def test_second_layer_stays_packed() -> None:
    """R17."""
    inner = gzip.compress(b"x" * 1000)
    assert expand("gzip", [gzip.compress(inner)]) == inner


def test_what_follows_the_stream_is_ignored() -> None:
    assert expand("gzip", [gzip.compress(b"abc") + b"junk", b"more"]) == b"abc"


def test_broken_streams_are_failures() -> None:
    with pytest.raises(FetchFailed):
        Expander("gzip").expand(b"not gzip at all")


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip,identity", "x"])
def test_other_codings_and_layers_are_refused(coding: str) -> None:
    """R17."""
    with pytest.raises(FetchFailed):
        Expander(coding)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], "identity"),
        ([""], "identity"),
        (["GZip "], "gzip"),
        (["gzip", "gzip"], "gzip,gzip"),
    ],
)
def test_coding_of_headers(values: list[str], expected: str) -> None:
    headers = {"content-encoding": values} if values else {}
    assert content_coding(headers) == expected
