"""What Dendrite's database knows of its media (mmr-tools.md §6).

Everything here blocks and belongs in a pool thread, one call at a time.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from mmr.interop.foreign_database import ForeignDatabase, ForeignDatabaseError, Row
from mmr.interop.media_folder import MediaFolder
from mmr.interop.synapse_store import UnsafeName
from mmr.types import Mxc

BATCH_ROWS = 1000
"""How many rows are read at once."""

TABLE = "mediaapi_media_repository"

_COLUMNS = (
    "media_id, media_origin, content_type, file_size_bytes, creation_ts, upload_name,"
    " base64hash, user_id"
)
_HASH = re.compile(r"[A-Za-z0-9_-]{3,255}\Z")
_SHA256_BYTES = 32


@attrs.frozen(slots=True)
class DendriteMedia:
    """One media, local or remote.

    Attributes:
        mxc: As the database has it; neither part has been checked.
        created_ts: In ms; of remote media: when it was fetched.
        user_id: Empty when unknown.
        base64_hash: URL-safe, of the content's SHA-256. It names the file.
    """

    mxc: Mxc
    content_type: str
    size_bytes: int
    created_ts: int
    upload_name: str
    user_id: str
    base64_hash: str

    @property
    def is_quarantined(self) -> bool:
        """Never: Dendrite's table doesn't know it."""
        return False

    @property
    def path(self) -> str:
        """Its file, relative to ``media_api.base_path``.

        Raises:
            UnsafeName: when the hash can't be a path.
        """
        name = self.base64_hash
        if not _HASH.match(name):
            raise UnsafeName(f"the hash {name!r} can't be a path in Dendrite's store")
        return f"{name[0]}/{name[1]}/{name[2:]}/file"

    @property
    def sha256_hash(self) -> str | None:
        """Lower-case hex; None when the row has no usable hash."""
        if not _HASH.match(self.base64_hash):
            return None
        padding = "=" * (-len(self.base64_hash) % 4)
        try:
            digest = base64.urlsafe_b64decode(self.base64_hash + padding)
        except binascii.Error:
            return None
        return digest.hex() if len(digest) == _SHA256_BYTES else None


class DendriteDatabase:
    """Reads the table of media.

    Args:
        database: Where it is.
        server_name: Whose media is local.

    Raises:
        ForeignDatabaseError: when it isn't a Dendrite's database.
    """

    def __init__(self, database: ForeignDatabase, server_name: str) -> None:
        self._database = database
        self._server_name = server_name
        try:
            database.columns(TABLE)
        except ForeignDatabaseError as error:
            raise ForeignDatabaseError(
                "This is not the database of Dendrite's media API, or it may not be "
                f"read. {error}"
            ) from error

    def count(self, *, with_remote: bool) -> int:
        """All rows, or those of local media."""
        where, params = self._where(with_remote)
        # Not a stranger's text: our constants.
        sql = f"SELECT count(*) FROM {TABLE} WHERE {where}"  # noqa: S608
        return int(self._database.rows(sql, params)[0][0])

    def batches(
        self, *, with_remote: bool, after: tuple[str, str] = ("", "")
    ) -> Iterator[list[DendriteMedia]]:
        """Media in the order of their origins and ids, by key and not by cursor.

        Args:
            after: Origin and id of the last one that isn't wanted any more.
        """
        where, params = self._where(with_remote)
        sql = (
            f"SELECT {_COLUMNS} FROM {TABLE} WHERE {where}"  # noqa: S608
            " AND (media_origin, media_id) > (?, ?)"
            " ORDER BY media_origin, media_id LIMIT ?"
        )
        while rows := self._database.rows(sql, (*params, *after, BATCH_ROWS)):
            batch = [_media(row) for row in rows]
            after = batch[-1].mxc.origin, batch[-1].mxc.media_id
            yield batch

    def close(self) -> None:
        """Hang up."""
        self._database.close()

    def _where(self, with_remote: bool) -> tuple[str, tuple[str, ...]]:
        if with_remote:
            return "media_origin <> ''", ()
        return "media_origin = ?", (self._server_name,)


def dendrite_folder(base: Path) -> MediaFolder:
    """Dendrite's media folder, laid out as `DendriteMedia` says.

    Raises:
        StartupError: when it isn't a folder that can be read.
    """
    return MediaFolder([base], "media_api.base_path of dendrite.yaml")


def _media(row: Row) -> DendriteMedia:
    media_id, origin, type_, size, created_ts, name, base64_hash, user_id = row
    return DendriteMedia(
        mxc=Mxc(str(origin), str(media_id)),
        content_type=type_ or "",
        size_bytes=size or 0,
        created_ts=created_ts or 0,
        upload_name=name or "",
        user_id=user_id or "",
        base64_hash=base64_hash or "",
    )
