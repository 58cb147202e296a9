"""Media that moves in from elsewhere, with its id, uploader and time (issue: imports).

Archives and the importers of other servers give one media after the other to
`Adoptions.adopt`. Many may run at once: the more do, the fewer flushes each costs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from mmr.config import Config
from mmr.datastores.base import Datastore, ObjectWriter
from mmr.datastores.registry import Datastores, HasDatastores
from mmr.errors import MatrixError, unavailable
from mmr.media.adopt_rows import AdoptedRows, IdTaken, WrongHash
from mmr.media.adopted import (
    AdoptedBody,
    AdoptedMedia,
    Adoption,
    AdoptOutcome,
    compare,
    fault_of,
)
from mmr.media.commit import ObjectCommitter
from mmr.media.quarantine import Withdraw
from mmr.media.records import MediaRecords
from mmr.media.rows import NewMedia
from mmr.media.scanning import Scanning
from mmr.media.small_files import MAX_SMALL_BYTES, SmallFiles
from mmr.storage.errors import CommitOutcomeUnknown
from mmr.storage.media import MediaRecord, MediaStore
from mmr.types import (
    Kind,
    server_of_user,
)
from mmr.util.shield import shield

__all__ = ["AdoptOutcome", "AdoptedMedia", "Adoption", "Adoptions"]


class Adoptions:
    """Keeps media under the ids that it had elsewhere. Quotas don't count (R77).

    Args:
        config: As it is now.
        scanning: Asks the hooks.
        withdraw: See `Quarantine`.
    """

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        media: MediaStore,
        datastores: Datastores,
        committer: ObjectCommitter,
        small_files: SmallFiles,
        records: MediaRecords,
        scanning: Scanning,
        withdraw: Withdraw,
    ) -> None:
        self._config = config
        self._media = media
        self._datastores = datastores
        self._committer = committer
        self._small_files = small_files
        self._records = records
        self._scanning = scanning
        self._withdraw = withdraw

    async def adopt(
        self, item: AdoptedMedia, chunks: AsyncIterator[bytes]
    ) -> AdoptOutcome:
        """Keep one media. When this returns, it is durable, or nothing of it is left.

        Args:
            chunks: The bytes. Not always asked for when the id is here already; what
                it raises is raised.

        Raises:
            MatrixError: 5xx: not the media's fault, and the next one would fail too
                (no database, no space).
        """
        fault = fault_of(item)
        if fault is not None:
            return AdoptOutcome(Adoption.REFUSED, detail=fault)
        size = item.expected_bytes
        if size is None or size > MAX_SMALL_BYTES:
            known = await self._media.get_media(item.origin, item.media_id)
            if known is not None:
                return compare(item, known)
        body = AdoptedBody(item, chunks)
        datastore = await self._datastores.choose(*self._place_of(item))
        head = b""
        # Hooks look at files.
        if not self._scanning.is_on:
            head = await body.head()
        if body.is_over:
            wrong = body.fault()
            if wrong is not None:
                return wrong
            return await shield(self._keep_small(item, datastore, head))
        return await self._adopt_large(item, datastore, head, body)

    async def _adopt_large(
        self, item: AdoptedMedia, datastore: Datastore, head: bytes, body: AdoptedBody
    ) -> AdoptOutcome:
        writer = await datastore.create(item.expected_bytes)
        is_ours = True
        try:
            await writer.write(head)
            async for chunk in body:
                await writer.write(chunk)
            fault = body.fault()
            if fault is not None:
                return fault
            is_ours = False
            return await shield(self._keep(item, datastore, writer))
        finally:
            if is_ours:
                await writer.discard()

    async def _keep_small(
        self, item: AdoptedMedia, datastore: Datastore, data: bytes
    ) -> AdoptOutcome:
        rows = self._rows_of(item)
        return await self._settle(
            item, rows, self._small_files.commit(datastore, rows, data)
        )

    async def _keep(
        self, item: AdoptedMedia, datastore: Datastore, writer: ObjectWriter
    ) -> AdoptOutcome:
        rows = self._rows_of(item)

        async def keep() -> MediaRecord:
            await self._scanning.check(writer, rows.new)
            return await self._committer.commit(
                writer, datastore, rows, may_be_quarantined=rows.may_be_quarantined
            )

        try:
            return await self._settle(item, rows, keep())
        finally:
            await writer.discard()

    async def _settle(
        self, item: AdoptedMedia, rows: AdoptedRows, work: Awaitable[MediaRecord]
    ) -> AdoptOutcome:
        """Await a commit, tell the caches, and say what has become of it."""
        try:
            record = await self._outcome_of(item, work)
        except WrongHash as error:
            return AdoptOutcome(Adoption.DAMAGED, detail=str(error))
        except IdTaken as error:
            return AdoptOutcome(Adoption.CONFLICT, detail=str(error))
        except MatrixError as error:
            if error.status >= 500:
                raise
            return AdoptOutcome(Adoption.REFUSED, detail=error.message)
        if rows.quarantined:
            await self._withdraw(rows.quarantined, [rows.sha256_hash])
        if not rows.is_inserted:
            self._records.invalidate(item.mxc)
            return compare(item, record, rows.sha256_hash)
        self._records.added(item.mxc)
        return AdoptOutcome(Adoption.STORED, record.size_bytes)

    async def _outcome_of(
        self, item: AdoptedMedia, work: Awaitable[MediaRecord]
    ) -> MediaRecord:
        try:
            return await work
        except CommitOutcomeUnknown:
            record = await self._media.get_media(item.origin, item.media_id)
            if record is None:
                raise unavailable("The media could not be stored. Try again.") from None
            return record

    def _rows_of(self, item: AdoptedMedia) -> AdoptedRows:
        requires_auth = item.requires_auth
        if requires_auth is None:
            requires_auth = self._config().repo.freeze_unauthenticated_media
        new = NewMedia(
            origin=item.origin,
            media_id=item.media_id,
            upload_name=item.upload_name,
            content_type=item.content_type,
            user_id=item.user_id,
            requires_auth=requires_auth,
            is_prescribed=True,
        )
        return AdoptedRows(
            new,
            self._media,
            creation_ts=item.creation_ts,
            last_access_ts=item.last_access_ts,
            is_quarantined=item.is_quarantined,
            is_protected=item.is_protected,
            expected_sha256=item.expected_sha256,
        )

    def _place_of(self, item: AdoptedMedia) -> tuple[Kind, HasDatastores]:
        """Local when the uploader's server, or else the origin, is ours (D64)."""
        config = self._config()
        server = server_of_user(item.user_id) or item.origin
        domain = config.domains.get(server.lower())
        if domain is not None:
            return Kind.LOCAL_MEDIA, domain
        sections: list[HasDatastores] = [config, *config.domains.values()]
        for section in sections:
            if any(Kind.REMOTE_MEDIA in each.for_kinds for each in section.datastores):
                return Kind.REMOTE_MEDIA, section
        return Kind.REMOTE_MEDIA, config
