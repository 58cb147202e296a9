"""Media that moves in from elsewhere, with its id, uploader and time (issue: imports).

Archives and the importers of other servers give one media after the other to
`Adoptions.adopt`. Many may run at once: the more do, the fewer flushes each costs.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable

import attrs

from mmr.config import Config
from mmr.datastores.base import Datastore, ObjectWriter
from mmr.datastores.registry import Datastores, HasDatastores
from mmr.errors import MatrixError, unavailable
from mmr.media.adopt_rows import AdoptedRows, WrongHash
from mmr.media.commit import ObjectCommitter
from mmr.media.quarantine import Withdraw
from mmr.media.records import MediaRecords
from mmr.media.rows import NewMedia
from mmr.media.scanning import Scanning
from mmr.storage.errors import CommitOutcomeUnknown
from mmr.storage.media import MediaRecord, MediaStore
from mmr.types import Kind, Mxc, server_of_user
from mmr.util.shield import shield


@attrs.frozen(slots=True, kw_only=True)
class AdoptedMedia:
    """One media as its former home describes it.

    Attributes:
        user_id: The uploader; empty for remote media and when nobody knows.
        creation_ts: Uploaded or fetched at, ms since the epoch.
        is_quarantined: It stays quarantined, and its content is blocked from now on.
        is_protected: Pinned: neither quarantined nor purged.
        requires_auth: Frozen (MSC3916); None for what new media gets here
            (``repo.freezeUnauthenticatedMedia``).
        expected_sha256: Lower-case hex; other bytes are refused.
        expected_bytes: Another length is refused.
        max_bytes: More are refused.
    """

    origin: str
    media_id: str
    content_type: str
    upload_name: str = ""
    user_id: str = ""
    creation_ts: int
    is_quarantined: bool = False
    is_protected: bool = False
    requires_auth: bool | None = None
    expected_sha256: str | None = None
    expected_bytes: int | None = None
    max_bytes: int | None = None

    @property
    def mxc(self) -> Mxc:
        """The media's address."""
        return Mxc(self.origin, self.media_id)


class Adoption(enum.Enum):
    """What became of one media."""

    STORED = "stored"
    KNOWN = "known"
    """The id was here already, with these bytes as far as can be told."""
    CONFLICT = "conflict"
    """The id was here already, with other bytes. They stay."""
    DAMAGED = "damaged"
    """The bytes are not those that were announced. Nothing was kept."""
    REFUSED = "refused"
    """Quarantined content, a plugin's no, or too large. Nothing was kept."""


@attrs.frozen(slots=True)
class AdoptOutcome:
    """What became of one media.

    Attributes:
        size_bytes: Of the content; 0 when nothing is kept.
        detail: Why not, as a sentence; empty when all is well.
    """

    adoption: Adoption
    size_bytes: int = 0
    detail: str = ""

    @property
    def is_here(self) -> bool:
        """Whether the media is here now."""
        return self.adoption in (Adoption.STORED, Adoption.KNOWN)


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
        records: MediaRecords,
        scanning: Scanning,
        withdraw: Withdraw,
    ) -> None:
        self._config = config
        self._media = media
        self._datastores = datastores
        self._committer = committer
        self._records = records
        self._scanning = scanning
        self._withdraw = withdraw

    async def adopt(
        self, item: AdoptedMedia, chunks: AsyncIterator[bytes]
    ) -> AdoptOutcome:
        """Keep one media. When this returns, it is durable, or nothing of it is left.

        Args:
            chunks: The bytes. Not asked for when the id is here already; what it
                raises is raised.

        Raises:
            MatrixError: 5xx: not the media's fault, and the next one would fail too
                (no database, no space).
        """
        known = await self._media.get_media(item.origin, item.media_id)
        if known is not None:
            return compare(item, known)
        datastore = await self._datastores.choose(*self._place_of(item))
        writer = await datastore.create(item.expected_bytes)
        is_ours = True
        try:
            fault = await self._receive(item, chunks, writer)
            if fault is not None:
                return fault
            is_ours = False
            return await shield(self._keep(item, writer, datastore))
        finally:
            if is_ours:
                await writer.discard()

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

    async def _receive(
        self, item: AdoptedMedia, chunks: AsyncIterator[bytes], writer: ObjectWriter
    ) -> AdoptOutcome | None:
        limits = [n for n in (item.expected_bytes, item.max_bytes) if n is not None]
        most = min(limits, default=None)
        async for chunk in chunks:
            if most is not None and writer.size + len(chunk) > most:
                return _too_long(item, most)
            await writer.write(chunk)
        if item.expected_bytes not in (None, writer.size):
            return AdoptOutcome(
                Adoption.DAMAGED,
                detail=f"it has {writer.size} bytes instead of {item.expected_bytes}",
            )
        return None

    async def _keep(
        self, item: AdoptedMedia, writer: ObjectWriter, datastore: Datastore
    ) -> AdoptOutcome:
        new = NewMedia(
            origin=item.origin,
            media_id=item.media_id,
            upload_name=item.upload_name,
            content_type=item.content_type,
            user_id=item.user_id,
            requires_auth=self._requires_auth(item),
            is_prescribed=True,
        )
        size = writer.size
        rows = AdoptedRows(
            new,
            self._media,
            creation_ts=item.creation_ts,
            is_quarantined=item.is_quarantined,
            is_protected=item.is_protected,
            expected_sha256=item.expected_sha256,
        )
        try:
            await self._scanning.check(writer, new)
            record = await self._commit(item, writer, datastore, rows)
        except WrongHash as error:
            return AdoptOutcome(Adoption.DAMAGED, detail=str(error))
        except MatrixError as error:
            if error.status >= 500:
                raise
            return AdoptOutcome(Adoption.REFUSED, detail=error.message)
        finally:
            await writer.discard()
        if rows.quarantined:
            await self._withdraw(rows.quarantined, [rows.sha256_hash])
        if not rows.is_inserted:
            return compare(item, record, rows.sha256_hash)
        self._records.added(item.mxc)
        return AdoptOutcome(Adoption.STORED, size)

    async def _commit(
        self,
        item: AdoptedMedia,
        writer: ObjectWriter,
        datastore: Datastore,
        rows: AdoptedRows,
    ) -> MediaRecord:
        try:
            return await self._committer.commit(writer, datastore, rows)
        except CommitOutcomeUnknown:
            record = await self._media.get_media(item.origin, item.media_id)
            if record is None:
                raise unavailable("The media could not be stored. Try again.") from None
            return record

    def _requires_auth(self, item: AdoptedMedia) -> bool:
        if item.requires_auth is not None:
            return item.requires_auth
        return self._config().repo.freeze_unauthenticated_media


def compare(
    item: AdoptedMedia, known: MediaRecord, sha256: str | None = None
) -> AdoptOutcome:
    """What it means that the id is here already.

    Args:
        sha256: Of the bytes at hand, when they were read.
    """
    wanted = sha256 or item.expected_sha256
    if wanted is not None:
        is_same = wanted == known.sha256_hash
    else:
        is_same = item.expected_bytes in (None, known.size_bytes)
    if is_same:
        return AdoptOutcome(Adoption.KNOWN, known.size_bytes)
    return AdoptOutcome(
        Adoption.CONFLICT, detail="the id is here already, with other content"
    )


def _too_long(item: AdoptedMedia, most: int) -> AdoptOutcome:
    if most == item.expected_bytes:
        return AdoptOutcome(
            Adoption.DAMAGED, detail=f"it has more than the announced {most} bytes"
        )
    return AdoptOutcome(Adoption.REFUSED, detail=f"it has more than {most} bytes")
