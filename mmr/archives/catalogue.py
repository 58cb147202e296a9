"""What an archive holds, by its manifest, while it is imported."""

from __future__ import annotations

import enum
import itertools
import json
import operator
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator

import attrs

from mmr.archives.manifest import MediaEntry
from mmr.archives.manifest_reader import Refused
from mmr.types import Mxc

_SCHEMA = """
    PRAGMA journal_mode=OFF;
    PRAGMA cache_size=-4096;
    CREATE TABLE entries (
        mxc TEXT NOT NULL PRIMARY KEY,
        file_name TEXT NOT NULL,
        state INTEGER NOT NULL,
        record TEXT NOT NULL
    );
    CREATE INDEX entries_file_name ON entries (file_name);
    CREATE INDEX entries_state ON entries (state, mxc);
"""
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


_values = operator.attrgetter(*(field.name for field in attrs.fields(MediaEntry)))
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
        self._db.executescript(_SCHEMA)

    def add(self, records: Iterable[MediaEntry | Refused]) -> list[Refused]:
        """Take in records of the manifest.

        Returns:
            Those that can't be used, and are not taken in.
        """
        refused = []
        with self._lock:
            self._db.execute("BEGIN")
            for found in records:
                if isinstance(found, Refused):
                    refused.append(found)
                elif not self._add(found):
                    refused.append(Refused(str(found.mxc), "it is listed twice"))
            self._db.execute("COMMIT")
        return refused

    def _add(self, entry: MediaEntry) -> bool:
        row = (
            str(entry.mxc),
            entry.file_name,
            State.WANTED,
            json.dumps(_values(entry)),
        )
        cursor = self._db.execute("INSERT OR IGNORE INTO entries VALUES (?,?,?,?)", row)
        return cursor.rowcount > 0

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
        with self._lock:
            rows = self._db.execute(
                f"SELECT record FROM entries WHERE {where}",  # noqa: S608
                values,
            ).fetchall()
        return [MediaEntry(*json.loads(row[0])) for row in rows]

    def mark(self, media: Iterable[Mxc], state: State) -> None:
        """Note how far some records are."""
        rest = iter(media)
        with self._lock:
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
        with self._lock:
            [count] = self._db.execute(
                f"SELECT COUNT(*) FROM entries WHERE state IN ({marks})",  # noqa: S608
                wanted,
            ).fetchone()
        return int(count)

    def close(self) -> None:
        """Let go of the scratch database."""
        with self._lock:
            self._db.close()
