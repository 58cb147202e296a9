"""What Synapse's database knows of its media (synapse-internals.md §2.14).

Columns differ between Synapses of different age: they are looked at, not assumed.
Everything here blocks and belongs in a pool thread, one call at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from mmr.interop import synapse_store
from mmr.interop.foreign_database import ForeignDatabase, ForeignDatabaseError, Row
from mmr.interop.synapse_store import ThumbnailName
from mmr.types import Mxc

BATCH_ROWS = 1000
"""How many rows are read at once."""

LOCAL_TABLE = "local_media_repository"
REMOTE_TABLE = "remote_media_cache"

_SHARED = (
    "media_id",
    "media_type",
    "media_length",
    "created_ts",
    "upload_name",
    "last_access_ts",
    "quarantined_by",
    "authenticated",
    "sha256",
)
_LOCAL = (*_SHARED, "user_id", "url_cache", "safe_from_quarantine")
_REMOTE = (*_SHARED, "media_origin", "filesystem_id")


@attrs.frozen(slots=True)
class SynapseMedia:
    """One media, local or remote.

    Attributes:
        mxc: As the database has it; neither part has been checked.
        file_id: Its name on disk: the media id, or the ``filesystem_id`` of remote
            media.
        size_bytes: None: the id is reserved, but nothing was uploaded.
        created_ts: In ms; of remote media: when it was fetched.
        user_id: Empty when unknown.
        url_cache: The URL, when it was fetched for a preview.
        quarantined_by: A user id or ``system``; None when it isn't quarantined.
        is_protected: Quarantine leaves it alone (``safe_from_quarantine``).
        requires_auth: Only authenticated routes serve it.
        sha256_hash: Lower-case hex; None on rows from before Synapse 1.128.
    """

    mxc: Mxc
    is_local: bool
    file_id: str
    content_type: str
    size_bytes: int | None
    created_ts: int
    upload_name: str
    user_id: str
    url_cache: str | None
    last_access_ts: int | None
    quarantined_by: str | None
    is_protected: bool
    requires_auth: bool
    sha256_hash: str | None

    @property
    def is_unfinished(self) -> bool:
        """An asynchronous upload that never happened."""
        return self.size_bytes is None

    @property
    def is_quarantined(self) -> bool:
        """Whether Synapse serves it to nobody."""
        return self.quarantined_by is not None

    @property
    def is_preview(self) -> bool:
        """Fetched for the preview of a URL: nobody's media."""
        return self.url_cache is not None

    @property
    def path(self) -> str:
        """Its file, relative to the media folder.

        Raises:
            UnsafeName: when the id can't be a path.
        """
        if not self.is_local:
            return synapse_store.remote_content(self.mxc.origin, self.file_id)
        if self.is_preview:
            return synapse_store.url_cache(self.file_id)
        return synapse_store.local_content(self.file_id)


@attrs.frozen(slots=True)
class SynapseThumbnail:
    """A row of a table of thumbnails."""

    name: ThumbnailName
    size_bytes: int


class SynapseDatabase:
    """Reads the tables of media.

    Args:
        database: Where they are.
        server_name: The origin of local media, which no table names.

    Raises:
        ForeignDatabaseError: when it isn't a Synapse's database.
    """

    def __init__(self, database: ForeignDatabase, server_name: str) -> None:
        self._database = database
        self._server_name = server_name
        try:
            local = database.columns(LOCAL_TABLE)
            remote = database.columns(REMOTE_TABLE)
        except ForeignDatabaseError as error:
            raise ForeignDatabaseError(
                f"This is not the main database of a Synapse, or it may not be read. "
                f"{error}"
            ) from error
        self._local = _select(LOCAL_TABLE, _LOCAL, local)
        self._remote = _select(REMOTE_TABLE, _REMOTE, remote)

    def count_local(self) -> int:
        """All rows of local media, previews and unfinished uploads included."""
        return self._count(LOCAL_TABLE)

    def count_remote(self) -> int:
        """All rows of remote media."""
        return self._count(REMOTE_TABLE)

    def local_batches(self, after: str = "") -> Iterator[list[SynapseMedia]]:
        """All local media, in the order of their ids.

        By key and not by cursor: no transaction is held open while the other server
        works, and a run can go on where one stopped.

        Args:
            after: The last media id that isn't wanted any more.
        """
        sql = f"{self._local} WHERE media_id > ? ORDER BY media_id LIMIT ?"
        while rows := self._database.rows(sql, (after, BATCH_ROWS)):
            batch = [self._local_media(row) for row in rows]
            after = batch[-1].mxc.media_id
            yield batch

    def remote_batches(
        self, after: tuple[str, str] = ("", "")
    ) -> Iterator[list[SynapseMedia]]:
        """All remote media, in the order of their origins and ids.

        Args:
            after: Origin and id of the last one that isn't wanted any more.
        """
        sql = (
            f"{self._remote} WHERE (media_origin, media_id) > (?, ?) "
            "ORDER BY media_origin, media_id LIMIT ?"
        )
        while rows := self._database.rows(sql, (*after, BATCH_ROWS)):
            batch = [_remote_media(row) for row in rows]
            after = batch[-1].mxc.origin, batch[-1].mxc.media_id
            yield batch

    def find_local(self, media_id: str) -> SynapseMedia | None:
        """The local media of an id."""
        rows = self._database.rows(f"{self._local} WHERE media_id = ?", (media_id,))
        return self._local_media(rows[0]) if rows else None

    def find_remote(self, mxc: Mxc) -> SynapseMedia | None:
        """The remote media of an address."""
        sql = f"{self._remote} WHERE media_origin = ? AND media_id = ?"
        rows = self._database.rows(sql, (mxc.origin, mxc.media_id))
        return _remote_media(rows[0]) if rows else None

    def thumbnails(self, media: SynapseMedia) -> list[SynapseThumbnail]:
        """The thumbnails that Synapse has of a media."""
        sql = (
            "SELECT thumbnail_width, thumbnail_height, thumbnail_type, "
            "thumbnail_method, thumbnail_length FROM "
        )
        media_id = media.mxc.media_id
        if media.is_local:
            sql += f"{LOCAL_TABLE}_thumbnails WHERE media_id = ?"
            rows = self._database.rows(sql, (media_id,))
        else:
            sql += f"{REMOTE_TABLE}_thumbnails WHERE media_origin = ? AND media_id = ?"
            rows = self._database.rows(sql, (media.mxc.origin, media_id))
        return [
            SynapseThumbnail(ThumbnailName(width, height, type_, method), length or 0)
            for width, height, type_, method, length in rows
        ]

    def close(self) -> None:
        """Hang up."""
        self._database.close()

    def _count(self, table: str) -> int:
        # Not a stranger's text: one of our two constants.
        rows = self._database.rows(f"SELECT count(*) FROM {table}")  # noqa: S608
        return int(rows[0][0])

    def _local_media(self, row: Row) -> SynapseMedia:
        values = dict(zip(_LOCAL, row, strict=True))
        media_id = str(values["media_id"])
        return _media(values, Mxc(self._server_name, media_id), True, media_id)


def _remote_media(row: Row) -> SynapseMedia:
    values = dict(zip(_REMOTE, row, strict=True))
    mxc = Mxc(str(values["media_origin"]), str(values["media_id"]))
    return _media(values, mxc, False, str(values["filesystem_id"] or ""))


def _media(
    values: dict[str, Any], mxc: Mxc, is_local: bool, file_id: str
) -> SynapseMedia:
    return SynapseMedia(
        mxc=mxc,
        is_local=is_local,
        file_id=file_id,
        content_type=values["media_type"] or "",
        size_bytes=values["media_length"],
        created_ts=values["created_ts"] or 0,
        upload_name=values["upload_name"] or "",
        user_id=values.get("user_id") or "",
        url_cache=values.get("url_cache"),
        last_access_ts=values["last_access_ts"],
        quarantined_by=values["quarantined_by"],
        is_protected=bool(values.get("safe_from_quarantine")),
        requires_auth=bool(values["authenticated"]),
        sha256_hash=values["sha256"],
    )


def _select(table: str, wanted: tuple[str, ...], there: frozenset[str]) -> str:
    columns = (name if name in there else "NULL" for name in wanted)
    # Not a stranger's text: all names are constants of this module.
    return f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608
