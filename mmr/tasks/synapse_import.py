"""Synapse's media, as it moves in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial

from mmr.interop.stored_bytes import StoredBytes
from mmr.interop.synapse_database import SynapseDatabase, SynapseMedia
from mmr.media.adopted import AdoptedMedia
from mmr.tasks.movable import Batch, Movable, read_in_threads
from mmr.util.threads import Runner

PREVIEWS = "skipped: fetched for URL previews"
UNFINISHED = "skipped: uploads that never happened"

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_UNKNOWN_TYPE = "application/octet-stream"


class SynapseImport:
    """Says what there is to move.

    Args:
        source: Where the bytes are.
        with_remote: Whether media of other servers moves, too.
        threads: Where Synapse's database, folder and API are read.
    """

    def __init__(
        self,
        database: SynapseDatabase,
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
        count = await self._threads.run(self._database.count_local)
        if self._with_remote:
            count += await self._threads.run(self._database.count_remote)
        return count

    async def batches(self) -> AsyncIterator[Batch]:
        """All rows: those of local media first.

        Raises:
            StartupError: when the database doesn't answer.
        """
        tables: list[Iterator[list[SynapseMedia]]] = [self._database.local_batches()]
        if self._with_remote:
            tables.append(self._database.remote_batches())
        for table in tables:
            while rows := await self._threads.run(next, table, None):
                yield self._batch(rows)

    def _batch(self, rows: list[SynapseMedia]) -> Batch:
        skipped: Counter[str] = Counter()
        media = []
        for row in rows:
            reason = _reason_to_skip(row)
            if reason is None:
                media.append(self._movable(row))
            else:
                skipped[reason] += 1
        return Batch(media, skipped, self._read_small)

    def _movable(self, row: SynapseMedia) -> Movable:
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


def _reason_to_skip(row: SynapseMedia) -> str | None:
    if row.is_preview:
        return PREVIEWS
    return UNFINISHED if row.is_unfinished else None


def adopted(row: SynapseMedia) -> AdoptedMedia:
    """One of Synapse's rows in our words.

    Media that was protected after it was quarantined stays quarantined in Synapse. Ours
    can't be both, so it isn't pinned.
    """
    is_quarantined = row.quarantined_by is not None
    sha256 = row.sha256_hash or ""
    return AdoptedMedia(
        origin=row.mxc.origin,
        media_id=row.mxc.media_id,
        content_type=_text(row.content_type) or _UNKNOWN_TYPE,
        upload_name=_text(row.upload_name),
        user_id=_text(row.user_id),
        creation_ts=row.created_ts,
        last_access_ts=row.last_access_ts,
        is_quarantined=is_quarantined,
        is_protected=row.is_protected and not is_quarantined,
        requires_auth=row.requires_auth,
        expected_sha256=sha256 if _SHA256.match(sha256) else None,
        expected_bytes=row.size_bytes,
    )


def _text(text: str) -> str:
    # SQLite keeps it, PostgreSQL has no such character.
    return text.replace("\0", "")
