"""Writing to Synapse's tables of media (synapse-internals.md §2.14).

Everything here blocks and belongs in a pool thread, one call at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from mmr.interop.foreign_database import ForeignDatabase
from mmr.interop.synapse_database import (
    LOCAL_TABLE,
    REMOTE_TABLE,
    SynapseDatabase,
    SynapseMedia,
    SynapseThumbnail,
)
from mmr.types import Mxc

# SQLite takes 32,766 values a statement; a row has up to 12.
_ROWS_A_STATEMENT = 500


@attrs.frozen(slots=True)
class NewSynapseMedia:
    """One media whose files are in their places."""

    media: SynapseMedia
    thumbnails: Sequence[SynapseThumbnail] = ()


class SynapseRows:
    """Adds rows. Columns that this Synapse doesn't have yet are left out.

    Args:
        database: Opened for writing.
        server_name: The origin of local media, which no table names.

    Raises:
        ForeignDatabaseError: when it isn't a Synapse's database.
    """

    def __init__(self, database: ForeignDatabase, server_name: str) -> None:
        self._database = database
        self._server_name = server_name
        tables = (LOCAL_TABLE, REMOTE_TABLE)
        self._columns = {table: database.columns(table) for table in tables}
        self._reader = SynapseDatabase(database, server_name)

    def find_taken(self, media: Collection[Mxc]) -> set[Mxc]:
        """Those of some ids that Synapse has, be it as reserved ones."""
        ids: dict[str, list[str]] = {}
        for mxc in media:
            ids.setdefault(mxc.origin, []).append(mxc.media_id)
        taken = set()
        for origin, some in ids.items():
            where, values = f"media_id IN {_marks(len(some))}", some
            if origin == self._server_name:
                table = LOCAL_TABLE
            else:
                table = REMOTE_TABLE
                where, values = f"media_origin = ? AND {where}", [origin, *some]
            sql = f"SELECT media_id FROM {table} WHERE {where}"  # noqa: S608
            for row in self._database.rows(sql, values):
                taken.add(Mxc(origin, row[0]))
        return taken

    def find(self, media: Collection[Mxc]) -> dict[Mxc, SynapseMedia]:
        """What Synapse has of some ids."""
        found = {}
        for mxc in self.find_taken(media):
            if mxc.origin == self._server_name:
                row = self._reader.find_local(mxc.media_id)
            else:
                row = self._reader.find_remote(mxc)
            if row is not None:
                found[mxc] = row
        return found

    def insert(self, batch: Sequence[NewSynapseMedia]) -> None:
        """Add the rows of some media, all or none.

        Raises:
            ForeignDatabaseError: when the database refuses one of them.
        """
        rows: dict[str, list[Mapping[str, Any]]] = {}
        for new in batch:
            table = LOCAL_TABLE if new.media.is_local else REMOTE_TABLE
            rows.setdefault(table, []).append(_values(new.media))
            for each in new.thumbnails:
                values = _thumbnail_values(new.media, each)
                rows.setdefault(f"{table}_thumbnails", []).append(values)
        with self._database.transaction():
            for table, some in rows.items():
                for start in range(0, len(some), _ROWS_A_STATEMENT):
                    self._insert(table, some[start : start + _ROWS_A_STATEMENT])

    def _insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows that have the same columns."""
        there = self._columns.get(table, rows[0].keys())
        names = [name for name in rows[0] if name in there]
        groups = ", ".join([_marks(len(names))] * len(rows))
        # Not a stranger's text: all names are constants of this module.
        self._database.rows(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES {groups}",  # noqa: S608
            [row[name] for row in rows for name in names],
        )


def _thumbnail_values(
    media: SynapseMedia, thumbnail: SynapseThumbnail
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "media_id": media.mxc.media_id,
        "thumbnail_width": thumbnail.name.width,
        "thumbnail_height": thumbnail.name.height,
        "thumbnail_type": thumbnail.name.content_type,
        "thumbnail_method": thumbnail.name.method,
        "thumbnail_length": thumbnail.size_bytes,
    }
    if not media.is_local:
        values["media_origin"] = media.mxc.origin
        values["filesystem_id"] = media.file_id
    return values


def _values(media: SynapseMedia) -> dict[str, Any]:
    values: dict[str, Any] = {
        "media_id": media.mxc.media_id,
        "media_type": media.content_type,
        "media_length": media.size_bytes,
        "created_ts": media.created_ts,
        "upload_name": media.upload_name or None,
        "last_access_ts": media.last_access_ts,
        "quarantined_by": media.quarantined_by,
        "authenticated": media.requires_auth,
        "sha256": media.sha256_hash,
    }
    if media.is_local:
        values["user_id"] = media.user_id or None
        values["safe_from_quarantine"] = media.is_protected
    else:
        values["media_origin"] = media.mxc.origin
        values["filesystem_id"] = media.file_id
    return values


def _marks(count: int) -> str:
    return f"({', '.join('?' * count)})"
