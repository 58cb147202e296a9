"""Dendrite's media, as it moves in."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial

from mmr.interop.dendrite_database import DendriteDatabase, DendriteMedia
from mmr.interop.stored_bytes import StoredBytes
from mmr.media.adopted import AdoptedMedia
from mmr.tasks.movable import Batch, Movable, read_in_threads
from mmr.util.threads import Runner

_UNKNOWN_TYPE = "application/octet-stream"


class DendriteImport:
    """Says what there is to move.

    Args:
        source: Where the bytes are.
        with_remote: Whether media of other servers moves, too.
        threads: Where Dendrite's database, folder and API are read.
    """

    def __init__(
        self,
        database: DendriteDatabase,
        source: StoredBytes,
        *,
        with_remote: bool,
        threads: Runner,
    ) -> None:
        self._database = database
        self._source = source
        self._with_remote = with_remote
        self._threads = threads

    async def count(self) -> int:
        """How many rows there are.

        Raises:
            StartupError: when the database doesn't answer.
        """
        return await self._threads.run(
            self._database.count, with_remote=self._with_remote
        )

    async def batches(self) -> AsyncIterator[Batch]:
        """All rows.

        Raises:
            StartupError: when the database doesn't answer.
        """
        table = self._database.batches(with_remote=self._with_remote)
        while rows := await self._threads.run(next, table, None):
            media = [self._movable(row) for row in rows]
            yield Batch(media, Counter(), self._read_small)

    def _movable(self, row: DendriteMedia) -> Movable:
        read = partial(self._source.chunks, row)
        return Movable(
            adopted(row),
            partial(read_in_threads, read, self._threads),
            partial(self._threads.run, self._source.probe, row),
            row,
        )

    async def _read_small(self, media: Sequence[Movable]) -> list[bytes | None]:
        rows = [each.row for each in media]
        return await self._threads.run(self._source.read_small, rows)


def adopted(row: DendriteMedia) -> AdoptedMedia:
    """One of Dendrite's rows in our words.

    Dendrite doesn't note which media only users may see: old clients keep theirs.
    """
    return AdoptedMedia(
        origin=row.mxc.origin,
        media_id=row.mxc.media_id,
        content_type=row.content_type or _UNKNOWN_TYPE,
        upload_name=row.upload_name,
        user_id=row.user_id,
        creation_ts=row.created_ts,
        requires_auth=False,
        expected_sha256=row.sha256_hash,
        expected_bytes=row.size_bytes,
    )
