"""Our own gzip, read by others."""

from __future__ import annotations

import gzip
import os
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.archives.pack import Packer

_noise = st.integers(0, 200_000).map(os.urandom)
_text = st.integers(0, 20_000).map(lambda count: b"some text, " * count)


def pack(pieces: list[bytes]) -> bytes:
    packer, packed = Packer("part.tar"), b""
    for piece in pieces:
        packer.write(piece)
        packed += packer.take()
    packer.close()
    return packed + packer.take()


@given(st.lists(st.one_of(_noise, _text, st.binary(max_size=9000)), max_size=8))
def test_what_was_packed_comes_out(pieces: list[bytes]) -> None:
    """Whatever is stored, whatever is deflated, and what is between them."""
    packed = pack(pieces)
    assert gzip.decompress(packed) == b"".join(pieces)
    assert zlib.decompress(packed, 31) == b"".join(pieces)


def test_what_repeats_before_and_behind_stored_bytes_refers_to_neither() -> None:
    """The deflater doesn't know of what was stored."""
    text, noise = os.urandom(300) * 10, os.urandom(40_000)
    pieces = [text, noise, text, noise[:70], text, noise, text[7:]]
    assert gzip.decompress(pack(pieces)) == b"".join(pieces)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 65_535, 65_536, 131_071, 700_000])
def test_every_length_of_noise(size: int) -> None:
    noise = os.urandom(size)
    packed = pack([noise])
    assert gzip.decompress(packed) == noise
    assert len(packed) < size + size // 1000 + 200


def test_what_gets_smaller_does() -> None:
    assert len(pack([b"some text, " * 100_000])) < 10_000


def test_programs_read_it(tmp_path: Path) -> None:
    data = b"text " * 10_000 + os.urandom(300_000)
    path = tmp_path / "part.tgz"
    path.write_bytes(pack([data[:50_000], data[50_000:]]))
    subprocess.run(["gzip", "-t", str(path)], check=True)
    listed = subprocess.run(
        ["gzip", "-lN", str(path)], check=True, capture_output=True, text=True
    )
    assert listed.stdout.split()[-1].endswith("part.tar")
    found = subprocess.run(["gzip", "-dc", str(path)], check=True, capture_output=True)
    assert found.stdout == data


def test_it_is_the_same_each_time() -> None:
    data = [b"text" * 1000, os.urandom(10_000)]
    assert pack(data) == pack(data)
