"""What an archive holds, by its manifest, while it is imported."""

from __future__ import annotations

import enum
import errno
import itertools
import operator
import sqlite3
import tempfile
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

import attrs

from mmr.archives.manifest import MediaEntry
from mmr.archives.manifest_reader import Refused
from mmr.types import Mxc

_COLUMNS = tuple(field.name for field in attrs.fields(MediaEntry))
_SCHEMA = f"""
    PRAGMA journal_mode=MEMORY;
    PRAGMA cache_size=-4096;
    CREATE TABLE entries (
        mxc TEXT NOT NULL PRIMARY KEY,
        state INTEGER NOT NULL,
        {", ".join(_COLUMNS)}
    ) WITHOUT ROWID;
    CREATE INDEX entries_file_name ON entries (file_name);
    CREATE INDEX entries_state ON entries (state, mxc);
"""
_INSERT = f"INSERT INTO entries VALUES (?, ?{', ?' * len(_COLUMNS)})"  # noqa: S608
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM entries"  # noqa: S608
BATCH = 500
"""Records that are dealt with at once."""


class State(enum.IntEnum):
    """How far one record is."""

    WANTED = 0
    HERE = 1
    DAMAGED = 2
    """It was found, but not whole. Another copy may be."""
    FAILED = 3
    """It can't be kept. It isn't tried again."""
    LEFT_OUT = 4
    """Nobody asked for it."""


_values = operator.attrgetter(*_COLUMNS)
_OPEN_STATES = (State.WANTED, State.DAMAGED)


class Catalogue:
    """The records of one manifest. Blocks: for pool threads, which may share it.

    They are in a scratch database, so that millions of them cost no memory. Its file
    has no name, and is gone with the process however that ends.
    """

    def __init__(self) -> None:
        # To SQLite, no name means just that.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._lock = threading.Lock()
        with self._locked():
            self._db.executescript(_SCHEMA)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.OperationalError as error:
                # Nothing else ails a database that nobody else knows.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                text = f"{error} (scratch file in {tempfile.gettempdir()})"
                raise OSError(errno.ENOSPC, text) from error

    def add(self, records: Iterable[MediaEntry | Refused]) -> list[Refused]:
        """Take in records of the manifest.

        Returns:
            Those that can't be used, and are not taken in.
        """
        found = list(records)
        rows = [_row(each) for each in found if isinstance(each, MediaEntry)]
        with self._locked():
            self._db.execute("BEGIN")
            try:
                self._db.executemany(_INSERT, rows)
            except sqlite3.IntegrityError:
                self._db.execute("ROLLBACK")
            else:
                self._db.execute("COMMIT")
                return [each for each in found if isinstance(each, Refused)]
            return self._add_each(found)

    def _add_each(self, records: Iterable[MediaEntry | Refused]) -> list[Refused]:
        """One of them is listed twice."""
        refused = []
        for each in records:
            if isinstance(each, Refused):
                refused.append(each)
                continue
            try:
                self._db.execute(_INSERT, _row(each))
            except sqlite3.IntegrityError:
                refused.append(Refused(str(each.mxc), "it is listed twice"))
        return refused

    def find(self, file_names: Collection[str]) -> list[MediaEntry]:
        """The media whose bytes some entries of a part hold, as far as wanted."""
        marks = ",".join("?" * len(file_names))
        # The sign keeps SQLite from the index of states.
        return self._entries(
            f"file_name IN ({marks}) AND +state IN (?, ?)", *file_names, *_OPEN_STATES
        )

    def batches(self) -> Iterator[list[MediaEntry]]:
        """All that is wanted, some at a time; their states may change meanwhile."""
        after = ""
        while batch := self._entries(
            "state = ? AND mxc > ? ORDER BY mxc LIMIT ?", State.WANTED, after, BATCH
        ):
            yield batch
            after = str(batch[-1].mxc)

    def _entries(self, where: str, *values: object) -> list[MediaEntry]:
        with self._locked():
            rows = self._db.execute(f"{_SELECT} WHERE {where}", values).fetchall()
        return list(itertools.starmap(MediaEntry, rows))

    def mark(self, media: Iterable[Mxc], state: State) -> None:
        """Note how far some records are."""
        rest = iter(media)
        with self._locked():
            self._db.execute("BEGIN")
            while part := list(itertools.islice(rest, BATCH)):
                self._db.executemany(
                    "UPDATE entries SET state = ? WHERE mxc = ?",
                    [(state, str(mxc)) for mxc in part],
                )
            self._db.execute("COMMIT")

    def count(self, *states: State) -> int:
        """How many records are that far; all, when none is named."""
        wanted = states or tuple(State)
        marks = ",".join("?" * len(wanted))
        with self._locked():
            [count] = self._db.execute(
                f"SELECT COUNT(*) FROM entries WHERE state IN ({marks})",  # noqa: S608
                wanted,
            ).fetchone()
        return int(count)

    def close(self) -> None:
        """Let go of the scratch database."""
        with self._locked():
            self._db.close()


def _row(entry: MediaEntry) -> tuple[object, ...]:
    return (str(entry.mxc), State.WANTED, *_values(entry))
