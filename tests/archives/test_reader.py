"""Parts of archives that strangers made (R77)."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.archives import reader, unpack
from mmr.archives.reader import End, Event, Large, PartReader, Piece, Refused, Small
from mmr.archives.tar import BLOCK, MAX_EXTENSION
from mmr.archives.unpack import ArchiveError, Unpacker
from mmr.archives.writer import EntryHead, PartEncoder

LARGE = bytes(range(256)) * 2000


def tar(
    entries: Iterable[tuple[str, bytes]], format: int = tarfile.PAX_FORMAT
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as file:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def special(**values: object) -> bytes:
    """A tar with one entry that isn't a file, and a file behind it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        info = tarfile.TarInfo("special")
        for name, value in values.items():
            setattr(info, name, value)
        file.addfile(info, io.BytesIO(bytes(info.size)))
        after = tarfile.TarInfo("after")
        after.size = 3
        file.addfile(after, io.BytesIO(b"abc"))
    return out.getvalue()


def events_of(packed: bytes, piece: int = 65536) -> Iterator[Event]:
    part = PartReader()
    for start in range(0, len(packed), piece):
        part.feed(packed[start : start + piece])
        while not part.wants_input:
            yield from part.read()
    part.finish()


def read(packed: bytes, piece: int = 65536) -> list[tuple[str, bytes] | Refused]:
    """All entries, whole."""
    found: list[tuple[str, bytes] | Refused] = []
    name, data = "", b""
    for event in events_of(packed, piece):
        match event:
            case Small(name, data):
                found.append((name, data))
            case Large(name, _):
                data = b""
            case Piece(more):
                data += more
            case End():
                found.append((name, data))
            case Refused():
                found.append(event)
    return found


_names = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    min_size=1,
    max_size=300,
).filter(lambda name: not name.endswith("/") and not name.startswith("./"))


@given(
    st.lists(st.tuples(_names, st.binary(max_size=2000)), max_size=8),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.sampled_from([1, 7, 512, 65536]),
)
def test_what_tar_writes_is_read(
    entries: list[tuple[str, bytes]], format: int, piece: int
) -> None:
    assert read(gzip.compress(tar(entries, format)), piece) == entries


def test_what_we_write_is_read() -> None:
    encoder = PartEncoder("export-part-1.tgz")
    packed = encoder.encode([EntryHead("a", 3, 0), b"abc", EntryHead("ß" * 90, 1, 0)])
    packed += encoder.encode([b"x", EntryHead("large", len(LARGE), 0), LARGE])
    packed += encoder.close()
    assert read(packed) == [("a", b"abc"), ("ß" * 90, b"x"), ("large", LARGE)]


def test_old_tar_is_read() -> None:
    name = "folder/" * 30 + "name"
    plain = tar([(name, b"abc")], tarfile.USTAR_FORMAT)
    assert read(gzip.compress(plain)) == [(name, b"abc")]


def test_a_small_entry_comes_whole_and_a_large_one_in_pieces() -> None:
    packed = gzip.compress(tar([("small", b"abc"), ("large", LARGE), ("empty", b"")]))
    small, large, *pieces, end, empty = events_of(packed, 1000)
    assert small == Small("small", b"abc")
    assert large == Large("large", len(LARGE))
    assert b"".join(piece.data for piece in pieces) == LARGE  # type: ignore[union-attr]
    assert (end, empty) == (End(), Small("empty", b""))


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.LNKTYPE,
        tarfile.SYMTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.GNUTYPE_SPARSE,
        b"Z",
    ],
)
def test_what_is_no_file_is_refused_and_the_rest_goes_on(kind: bytes) -> None:
    """R77: links and devices."""
    found = read(gzip.compress(special(type=kind, linkname="/etc/passwd")))
    assert isinstance(found[0], Refused)
    assert found[0].name == "special"
    assert found[1:] == [("after", b"abc")]


def test_a_sparse_file_in_disguise_is_refused() -> None:
    pax = {"GNU.sparse.major": "1", "GNU.sparse.name": "x"}
    found = read(gzip.compress(special(pax_headers=pax, size=5)))
    assert isinstance(found[0], Refused)
    assert found[1:] == [("after", b"abc")]


def test_folders_are_passed_over() -> None:
    assert read(gzip.compress(special(type=tarfile.DIRTYPE))) == [("after", b"abc")]
    assert read(gzip.compress(tar([("old/", b"")]))) == []


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../etc/passwd", "a/../../b", "C:\\x", "-rf", "a\nb"]
)
def test_a_name_is_a_key_whatever_it_says(name: str) -> None:
    """R77: nothing is made of it; whoever looks it up doesn't find it."""
    assert read(gzip.compress(tar([(name, b"x")]))) == [(name, b"x")]


def test_names_of_a_folder_that_was_packed_again() -> None:
    assert read(gzip.compress(tar([("./a", b"x")]))) == [("a", b"x")]


def test_a_name_that_is_too_long_is_refused() -> None:
    found = read(gzip.compress(tar([("x" * 5000, b"abc"), ("after", b"abc")])))
    assert isinstance(found[0], Refused)
    assert len(found[0].name) < 5000
    assert found[1:] == [("after", b"abc")]


def test_a_name_that_is_no_text_is_replaced() -> None:
    plain = bytearray(tar([("abc", b"x")], tarfile.USTAR_FORMAT))
    plain[0] = 0xFF
    checksum = sum(plain[:148]) + 8 * 32 + sum(plain[156:512])
    plain[148:156] = b"%06o\0 " % checksum
    assert read(gzip.compress(bytes(plain))) == [("\ufffdbc", b"x")]


def test_an_entry_may_come_twice() -> None:
    """R77: what a name means is the reader's business; nothing is overwritten."""
    entries = [("a", b"1"), ("a", b"2")]
    assert read(gzip.compress(tar(entries))) == entries


def test_several_gzip_files_in_a_row() -> None:
    plain = tar([("a", b"1"), ("b", b"2" * 3000)])
    packed = b"".join(
        gzip.compress(plain[start : start + 1000])
        for start in range(0, len(plain), 1000)
    )
    assert read(packed + bytes(512), 100) == [("a", b"1"), ("b", b"2" * 3000)]


def test_a_tar_without_its_end() -> None:
    plain = tar([("a", b"1")])
    assert read(gzip.compress(plain[:1024])) == [("a", b"1")]


@pytest.mark.parametrize("cut", [1, 30, 600, 5000, -1, -9])
def test_a_part_that_ends_early(cut: int) -> None:
    """What came whole before is as good as ever."""
    noise = random.Random(1).randbytes(2000)
    packed = gzip.compress(tar([("a", noise), ("b", noise[::-1]), ("c", LARGE)]))
    found: list[Event] = []
    with pytest.raises(ArchiveError, match="early"):
        found.extend(events_of(packed[:cut]))
    part = PartReader()
    part.feed(packed[:cut])
    while not part.wants_input:
        found.extend(part.read())
    if cut in (5000, -1, -9):
        assert found[:2] == [Small("a", noise), Small("b", noise[::-1])]


def test_a_tar_that_ends_early_inside_of_a_whole_gzip() -> None:
    for cut in (100, 600, 1023):
        with pytest.raises(ArchiveError, match="early"):
            read(gzip.compress(tar([("a", b"x" * 600)])[:cut]))


def test_an_empty_file() -> None:
    with pytest.raises(ArchiveError, match="early"):
        read(b"")


@pytest.mark.parametrize(
    "packed",
    [b"no gzip at all", b"PK\x03\x04" + bytes(100), bytes(1000)],
)
def test_a_file_that_is_no_gzip(packed: bytes) -> None:
    with pytest.raises(ArchiveError):
        read(packed)


def test_gzip_with_no_tar_inside() -> None:
    with pytest.raises(ArchiveError, match="tar"):
        read(gzip.compress(b"just some text, of more than a block " * 100))


def test_a_damaged_checksum_shows_after_everything_else() -> None:
    packed = bytearray(gzip.compress(tar([("a", b"1")])))
    packed[-5] ^= 1
    with pytest.raises(ArchiveError, match="damaged"):
        read(bytes(packed))


@given(st.binary(max_size=3000))
def test_any_bytes_give_events_or_an_archive_error(data: bytes) -> None:
    for packed in (data, gzip.compress(data)):
        try:
            read(packed, 100)
        except ArchiveError:
            pass


@given(st.data())
def test_a_flipped_bit_gives_events_or_an_archive_error(data: st.DataObject) -> None:
    plain = bytearray(tar([("a" * 150, b"1" * 700), ("b", b"2")]))
    plain[data.draw(st.integers(0, len(plain) - 1))] ^= 1 << data.draw(
        st.integers(0, 7)
    )
    try:
        read(gzip.compress(bytes(plain)))
    except ArchiveError:
        pass


def head(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A head with any size field."""
    block = bytearray(BLOCK)
    block[: len(name)] = name
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
    return bytes(block)


def test_ten_gibibytes_of_zeros_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """R77: and cost no memory."""
    monkeypatch.setattr(unpack, "FREE_BYTES", 64 * 1024**2)
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(
        head(b"bomb", b"\x80" + (10 * 1024**3).to_bytes(11, "big"))
    )
    packed += b"".join(packer.compress(bytes(1024**2)) for _ in range(256))
    given: list[int] = []
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="times its size"):
        given.extend(
            len(event.data) for event in events_of(packed) if isinstance(event, Piece)
        )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 64 * 1024**2 < sum(given) < 128 * 1024**2
    assert peak < 8 * 1024**2


def test_a_million_entries_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """R77."""
    monkeypatch.setattr(reader, "MAX_ENTRIES", 100)
    with pytest.raises(ArchiveError, match="more than 100 entries"):
        read(gzip.compress(tar((str(n), b"") for n in range(101))))
    assert len(read(gzip.compress(tar((str(n), b"") for n in range(100))))) == 100


def test_an_extended_header_is_not_read_at_any_length() -> None:
    """R77: it would be in memory whole."""
    for kind in (b"x", b"L"):
        block = head(b"long", b"%011o\0" % (MAX_EXTENSION + 1), kind)
        with pytest.raises(ArchiveError, match="too long"):
            read(gzip.compress(block + bytes(1024)))


@pytest.mark.parametrize(
    "extension",
    [
        b"9 path=x",
        b"8 path=x\n",
        b"x path=a\n",
        b"9999 path=x\n",
        b"13 size=-100\n",
        b"path=x\n",
        b"12 size=abc\n",
    ],
)
def test_a_damaged_extended_header(extension: bytes) -> None:
    block = head(b"ext", b"%011o\0" % len(extension), b"x")
    packed = gzip.compress(block + extension.ljust(BLOCK, b"\0") + head(b"a", b"0"))
    with pytest.raises(ArchiveError):
        read(packed)


@pytest.mark.parametrize(
    "size", [b"\x80" + b"\xff" * 11, b"99999999999", b"\xff" * 12, b"-1", b"0x10"]
)
def test_a_size_that_cannot_be(size: bytes) -> None:
    with pytest.raises(ArchiveError):
        read(gzip.compress(head(b"a", size) + bytes(1024)))


def test_a_size_in_base_256() -> None:
    size = b"\x80" + (600).to_bytes(11, "big")
    plain = head(b"a", size) + b"x" * 600 + bytes(2048 - 600 - 512)
    assert read(gzip.compress(plain)) == [("a", b"x" * 600)]


def test_what_goes_in_comes_out_at_any_step() -> None:
    """The unpacker holds nothing back and gives no more than it is asked for."""
    data = random.Random(2).randbytes(1000) * 100 + bytes(300_000)
    packed = gzip.compress(data)
    for most in (1, 100, 65536):
        if most == 1:
            packed, data = gzip.compress(data[:500]), data[:500]
        unpacker, out = Unpacker(), b""
        for start in range(0, len(packed), 99):
            unpacker.feed(packed[start : start + 99])
            while not unpacker.wants_input:
                piece = unpacker.read(most)
                assert len(piece) <= most
                out += piece
        unpacker.finish()
        assert out == data
        data = random.Random(2).randbytes(1000) * 100 + bytes(300_000)
        packed = gzip.compress(data)
