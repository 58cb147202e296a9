"""The records of a manifest while they are imported."""

from __future__ import annotations

import errno
import os
import tempfile
import tracemalloc
from collections.abc import Iterator

import attrs
import pytest

from mmr.archives.catalogue import BATCH, Catalogue, State
from mmr.archives.manifest import MediaEntry
from mmr.archives.manifest_reader import Refused
from mmr.types import Mxc

ENTRY = MediaEntry(
    origin="example.org",
    media_id="abc",
    name="cat ☃.png",
    file_name="example.org__abc.png",
    size_bytes=5,
    content_type="image/png",
    sha256="0" * 64,
    s3_url="",
    created_ts=1_700_000_000_000,
    uploader="@alice:example.org",
)


def entry(number: int, **values: object) -> MediaEntry:
    names = {"media_id": f"m{number}", "file_name": f"f{number}"}
    return attrs.evolve(ENTRY, **{**names, **values})


def media(*numbers: int) -> list[Mxc]:
    return [Mxc("example.org", f"m{number}") for number in numbers]


@pytest.fixture
def catalogue() -> Iterator[Catalogue]:
    catalogue = Catalogue()
    yield catalogue
    catalogue.close()


def test_records_are_found_by_the_names_of_entries(catalogue: Catalogue) -> None:
    entries = [ENTRY, entry(1), entry(2, file_name="f1"), entry(3)]
    assert catalogue.add(entries) == []
    assert catalogue.find(["f1"]) == [entry(1), entry(2, file_name="f1")]
    assert catalogue.find(["f3", ENTRY.file_name, "nothing"]) == [ENTRY, entry(3)]


def test_a_key_that_comes_twice_counts_once(catalogue: Catalogue) -> None:
    """R77."""
    assert catalogue.add([entry(1)]) == []
    refused = Refused("a", "it is bad")
    again = Refused("mxc://example.org/m1", "it is listed twice")
    assert catalogue.add([entry(1, size_bytes=9), refused]) == [again, refused]
    assert catalogue.find(["f1"]) == [entry(1)]
    assert catalogue.count() == 1


def test_what_is_done_is_not_found_again(catalogue: Catalogue) -> None:
    catalogue.add([entry(number) for number in range(5)])
    catalogue.mark(media(0), State.HERE)
    catalogue.mark(media(1), State.FAILED)
    catalogue.mark(media(2), State.DAMAGED)
    catalogue.mark(media(3), State.LEFT_OUT)
    # Another copy of what was damaged may be whole.
    assert catalogue.find([f"f{n}" for n in range(5)]) == [entry(2), entry(4)]
    assert list(catalogue.batches()) == [[entry(4)]]
    assert catalogue.count(State.HERE, State.FAILED) == 2
    assert catalogue.count() == 5


def test_batches_go_through_all_that_is_wanted_while_it_changes(
    catalogue: Catalogue,
) -> None:
    count = 2 * BATCH + 7
    catalogue.add(entry(number) for number in range(count))
    seen = []
    for batch in catalogue.batches():
        assert len(batch) <= BATCH
        seen += [each.media_id for each in batch]
        catalogue.mark([each.mxc for each in batch[::2]], State.HERE)
    assert sorted(seen) == sorted(f"m{number}" for number in range(count))
    assert catalogue.count(State.WANTED) == count // 2


def test_many_records_cost_little_memory_and_leave_no_file() -> None:
    folder = tempfile.gettempdir()
    before = set(os.listdir(folder))
    tracemalloc.start()
    catalogue = Catalogue()
    for start in range(0, 50_000, 1000):
        catalogue.add(entry(number) for number in range(start, start + 1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 1024**2
    assert not {name for name in set(os.listdir(folder)) - before if "etilqs" in name}
    assert catalogue.find(["f49999"]) == [entry(49_999)]
    catalogue.close()


def test_no_room_is_said_so_and_passes(catalogue: Catalogue) -> None:
    """R97."""
    catalogue.add([entry(1)])
    catalogue._db.execute("PRAGMA max_page_count = 10")
    with pytest.raises(OSError, match="scratch file in") as raised:
        catalogue.add(entry(number) for number in range(2, 2000))
    assert raised.value.errno == errno.ENOSPC
    catalogue._db.execute("PRAGMA max_page_count = 100000")
    assert catalogue.add(entry(number) for number in range(2, 2000)) == []
    assert catalogue.count() == 1999
