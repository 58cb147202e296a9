"""Media that an admin action is about, page by page."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs

from mmr.storage import pairs
from mmr.storage.database import Database
from mmr.storage.engines.base import Row
from mmr.storage.media_filter import PINNED, MediaFilter, filter_sql
from mmr.storage.objects import ObjectName
from mmr.storage.transaction import Transaction
from mmr.types import Mxc


@attrs.frozen
class SelectedMedia:
    """What an action has to know of a record."""

    origin: str
    media_id: str
    user_id: str
    sha256_hash: str
    size_bytes: int
    creation_ts: int
    quarantined: bool
    datastore_id: str
    location: str
    is_pinned: bool

    @property
    def mxc(self) -> Mxc:
        """Its address."""
        return Mxc(self.origin, self.media_id)

    @property
    def object_name(self) -> ObjectName:
        """Where the bytes are."""
        return ObjectName(self.datastore_id, self.location)


@attrs.frozen
class Place:
    """How far a walk has come: behind this record (or, of named media, so many)."""

    creation_ts: int = 0
    media_id: str = ""
    origin: str = ""
    named: int = 0


_SELECT = f"""
    SELECT m.origin, m.media_id, m.user_id, m.sha256_hash, m.size_bytes,
        m.creation_ts, m.quarantined, m.datastore_id, m.location,
        {PINNED.format(m="m")}
    FROM media AS m
"""  # noqa: S608

# Records that share the objects of one page.
_MAX_USERS = 20_000
_FLAGS = (6, 9)
_START = Place(creation_ts=-(1 << 62))


def _selected(row: Row) -> SelectedMedia:
    values = list(row)
    for at in _FLAGS:
        # SQLite's flags are numbers.
        values[at] = bool(values[at])
    return SelectedMedia(*values)


class SelectionStore:
    """Finds the records of a filter."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(
        self, wanted: MediaFilter, place: Place | None, limit: int
    ) -> tuple[list[SelectedMedia], Place | None]:
        """The next records, oldest first; named media in the order of the names.

        Args:
            place: As the page before gave it; None at the start.
            limit: Records at most.

        Returns:
            The records, and where to go on: None at the end. A page that isn't the
            last may be empty.
        """
        place = place or _START
        if wanted.media is not None:
            return await self._named_page(wanted, wanted.media, place, limit)
        rows = await self._fetch(
            wanted,
            "(m.creation_ts, m.media_id, m.origin) > (?, ?, ?)",
            (place.creation_ts, place.media_id, place.origin),
            limit,
        )
        if len(rows) < limit:
            return rows, None
        last = rows[-1]
        return rows, Place(last.creation_ts, last.media_id, last.origin)

    async def _named_page(
        self,
        wanted: MediaFilter,
        names: Sequence[Mxc],
        place: Place,
        limit: int,
    ) -> tuple[list[SelectedMedia], Place | None]:
        part = names[place.named : place.named + limit]
        if not part:
            return [], None
        found = {
            row.mxc: row
            for row in await self._fetch(wanted, *pairs.of_media(part, "m."), limit)
        }
        rows = [found[mxc] for mxc in part if mxc in found]
        done = place.named + len(part)
        return rows, attrs.evolve(place, named=done) if done < len(names) else None

    async def _fetch(
        self, wanted: MediaFilter, where: str, params: Sequence[object], limit: int
    ) -> list[SelectedMedia]:
        condition, values = filter_sql(wanted, "m")
        rows = await self._db.fetch_all(
            "get_selected_media",
            f"{_SELECT} WHERE {where}{condition}"
            " ORDER BY m.creation_ts, m.media_id, m.origin LIMIT ?",
            (*params, *values, limit),
        )
        return [_selected(row) for row in rows]

    async def count(self, wanted: MediaFilter) -> int:
        """How many records there are. Reads them all, or their index."""
        if wanted.media is not None:
            return len(wanted.media)
        condition, values = filter_sql(wanted, "m")
        row = await self._db.fetch_one(
            "count_selected_media",
            f"SELECT COUNT(*) FROM media AS m WHERE 1 = 1{condition}",  # noqa: S608
            values,
        )
        return int(row[0]) if row else 0

    async def have_more_copies_than(self, hashes: Collection[str], limit: int) -> bool:
        """Whether more records than that have one of these contents."""
        if not hashes:
            return False
        marks = ", ".join("?" * len(hashes))
        rows = await self._db.fetch_all(
            "get_some_copies",
            f"SELECT 1 FROM media WHERE sha256_hash IN ({marks}) LIMIT ?",  # noqa: S608
            (*hashes, limit + 1),
        )
        return len(rows) > limit

    def get_all_txn(
        self, txn: Transaction, media: Sequence[Mxc]
    ) -> list[SelectedMedia]:
        """Those of some named media that have a record, as it is now."""
        where, values = pairs.of_media(media, "m.")
        txn.execute(f"{_SELECT} WHERE {where}", values)
        return [_selected(row) for row in txn.fetchall()]

    async def count_around(
        self, ours: Collection[str], ts: int, limit: int
    ) -> tuple[int, int]:
        """How many media of others were created before a time (ms), and since; each
        ``limit`` at most.
        """
        marks = ", ".join("?" * len(ours)) or "''"
        part = (
            "(SELECT COUNT(*) FROM (SELECT 1 FROM media WHERE creation_ts {} ?"  # noqa: S608
            f" AND origin NOT IN ({marks}) LIMIT ?) AS {{}})"
        )
        row = await self._db.fetch_one(
            "count_remote_media_around",
            f"SELECT {part.format('<', 'older')}, {part.format('>=', 'newer')}",
            (ts, *ours, limit, ts, *ours, limit),
        )
        assert row is not None
        return row[0], row[1]

    async def get_known(self, media: Sequence[Mxc]) -> set[Mxc]:
        """Those of some named media that have a record."""
        rows, _ = await self.page(MediaFilter(media=tuple(media)), None, len(media))
        return {row.mxc for row in rows}

    async def get_used_outside(
        self, wanted: MediaFilter, names: Collection[ObjectName]
    ) -> set[ObjectName]:
        """Those objects that would still be needed, were these records gone."""
        if not names:
            return set()
        if wanted.media is not None:
            return await self._used_by_others(frozenset(wanted.media), names)
        where, at = pairs.of_objects(names)
        condition, values = filter_sql(wanted, "o")
        selected = f"(1 = 1{condition} AND NOT {PINNED.format(m='o')})"
        rows = await self._db.fetch_all(
            "get_objects_used_outside",
            "SELECT o.datastore_id, o.location FROM media AS o"  # noqa: S608
            f" WHERE {where} AND NOT {selected}"
            " UNION SELECT t.datastore_id, t.location FROM thumbnails AS t"
            f" WHERE {where} AND NOT EXISTS (SELECT 1 FROM media AS o"
            f" WHERE o.media_id = t.media_id AND o.origin = t.origin AND {selected})"
            f" UNION SELECT datastore_id, location FROM export_parts WHERE {where}",
            (*at, *values, *at, *values, *at),
        )
        return {ObjectName(*row) for row in rows}

    async def _used_by_others(
        self, media: frozenset[Mxc], names: Collection[ObjectName]
    ) -> set[ObjectName]:
        where, at = pairs.of_objects(names)
        pinned = PINNED.format(m="o")
        rows = await self._db.fetch_all(
            "get_users_of_objects",
            "SELECT datastore_id, location, origin, media_id,"  # noqa: S608
            f" {pinned} FROM media AS o WHERE {where}"
            " UNION SELECT datastore_id, location, origin, media_id,"
            f" {pinned} FROM thumbnails AS o WHERE {where}"
            " UNION SELECT datastore_id, location, '', '', FALSE"
            f" FROM export_parts WHERE {where} LIMIT ?",
            (*at, *at, *at, _MAX_USERS),
        )
        used = {
            ObjectName(datastore_id, location)
            for datastore_id, location, origin, media_id, is_pinned in rows
            if is_pinned or Mxc(origin, media_id) not in media
        }
        # Of an object that so many share, nobody knows: then it isn't freed.
        return set(names) if len(rows) == _MAX_USERS else used
