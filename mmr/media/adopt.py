"""Media that moves in from elsewhere, with its id, uploader and time (issue: imports).

Archives and the importers of other servers give one media after the other to
`Adoptions.adopt`. Many may run at once: the more do, the fewer flushes each costs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from mmr.config import Config
from mmr.datastores.base import Datastore, ObjectWriter
from mmr.datastores.registry import Datastores, HasDatastores
from mmr.errors import MatrixError, unavailable
from mmr.media.adopt_located import LocatedObjects
from mmr.media.adopt_rows import AdoptedRows, IdTaken, WrongHash
from mmr.media.adopted import (
    AdoptedBody,
    AdoptedMedia,
    Adoption,
    AdoptOutcome,
    compare,
    length_fault,
    refused,
)
from mmr.media.commit import ObjectCommitter
from mmr.media.quarantine import Withdraw
from mmr.media.records import MediaRecords
from mmr.media.rows import NewMedia
from mmr.media.scanning import Scanning
from mmr.media.small_files import MAX_SMALL_BYTES, SmallFiles
from mmr.storage.errors import CommitOutcomeUnknown
from mmr.storage.media import MediaRecord, MediaStore
from mmr.types import Kind, server_of_user
from mmr.util.lanes import Lanes
from mmr.util.memory_file import Payload, bytes_of
from mmr.util.shield import shield

# Files that hooks look at.
_AT_ONCE = 8

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
        located: LocatedObjects,
        records: MediaRecords,
        scanning: Scanning,
        withdraw: Withdraw,
    ) -> None:
        self._config = config
        self._media = media
        self._datastores = datastores
        self._committer = committer
        self._small_files = small_files
        self._located = located
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
        refusal = refused(item)
        if refusal is not None:
            return refusal
        size = item.expected_bytes
        if size is None or size > MAX_SMALL_BYTES:
            known = await self._media.get_media(item.origin, item.media_id)
            if known is not None:
                return compare(item, known)
        body = AdoptedBody(item, chunks)
        # Hooks look at files.
        head = b"" if self._scanning.is_on else await body.head()
        if not body.is_over:
            return await self._adopt_large(item, head, body)
        fault = body.fault()
        if fault is not None:
            return fault
        [outcome] = await self.adopt_small([(item, head)])
        return outcome

    async def adopt_small(
        self, files: Sequence[tuple[AdoptedMedia, Payload]]
    ) -> list[AdoptOutcome]:
        """Keep several media of up to `MAX_SMALL_BYTES` each.

        Returns:
            What became of each, as `adopt` says it.

        Raises:
            MatrixError: 5xx, as `adopt`. Some may be here nevertheless.
        """
        if self._scanning.is_on:
            return await self._adopt_each(files)
        return await shield(self._keep_small(files))

    async def _adopt_each(
        self, files: Sequence[tuple[AdoptedMedia, Payload]]
    ) -> list[AdoptOutcome]:
        outcomes: dict[int, AdoptOutcome] = {}

        async def adopt(index: int) -> None:
            item, data = files[index]
            outcomes[index] = await self.adopt(item, _piece(bytes_of(data)))

        async with Lanes(_AT_ONCE) as lanes:
            for index in range(len(files)):
                await lanes.start(adopt(index))
        return [outcomes[index] for index in range(len(files))]

    async def _keep_small(
        self, files: Sequence[tuple[AdoptedMedia, Payload]]
    ) -> list[AdoptOutcome]:
        outcomes = [
            refused(item) or length_fault(item, len(data)) for item, data in files
        ]
        rows = [self._rows_of(item) for item, _ in files]
        sound = [index for index, outcome in enumerate(outcomes) if outcome is None]
        places = await self._places_of([files[index][0] for index in sound])
        for datastore in set(places):
            indices = [
                index
                for index, place in zip(sound, places, strict=True)
                if place is datastore
            ]
            results = await self._small_files.commit(
                datastore, [(rows[index], files[index][1]) for index in indices]
            )
            for index, result in zip(indices, results, strict=True):
                outcomes[index] = await self._settle(
                    files[index][0], rows[index], result
                )
        return [outcome for outcome in outcomes if outcome is not None]

    async def adopt_located(
        self, item: AdoptedMedia, datastore: Datastore, location: str
    ) -> AdoptOutcome:
        """Keep media whose object is in one of our datastores, and stays there.

        Raises:
            MatrixError: 5xx, as `adopt`.
        """
        refusal = refused(item)
        if refusal is not None:
            return refusal
        rows = self._rows_of(item)
        result: MediaRecord | Exception
        try:
            result = await shield(
                self._located.commit(datastore, location, rows, item.expected_bytes)
            )
        except Exception as error:
            result = error
        return await self._settle(item, rows, result)

    async def _adopt_large(
        self, item: AdoptedMedia, head: bytes, body: AdoptedBody
    ) -> AdoptOutcome:
        datastore = await self._choose(_server_of(item.user_id, item.origin))
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
            return await shield(self._keep_large(item, datastore, writer))
        finally:
            if is_ours:
                await writer.discard()

    async def _keep_large(
        self, item: AdoptedMedia, datastore: Datastore, writer: ObjectWriter
    ) -> AdoptOutcome:
        rows = self._rows_of(item)
        result: MediaRecord | Exception
        try:
            await self._scanning.check(writer, rows.new)
            result = await self._committer.commit(
                writer, datastore, rows, may_be_quarantined=rows.may_be_quarantined
            )
        except Exception as error:
            result = error
        finally:
            await writer.discard()
        return await self._settle(item, rows, result)

    async def _settle(
        self, item: AdoptedMedia, rows: AdoptedRows, result: MediaRecord | Exception
    ) -> AdoptOutcome:
        """Tell the caches, and say what has become of it."""
        if isinstance(result, CommitOutcomeUnknown):
            result = await self._look_up(item)
        if isinstance(result, Exception):
            return _refusal(result)
        if rows.quarantined:
            await self._withdraw(rows.quarantined, [rows.sha256_hash])
        if not rows.is_inserted:
            self._records.invalidate(item.mxc)
            return compare(item, result, rows.sha256_hash)
        self._records.added(item.mxc)
        return AdoptOutcome(Adoption.STORED, result.size_bytes)

    async def _look_up(self, item: AdoptedMedia) -> MediaRecord | Exception:
        """The connection broke during COMMIT: whether it happened decides (R96)."""
        record = await self._media.get_media(item.origin, item.media_id)
        return record or unavailable("The media could not be stored. Try again.")

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

    async def _places_of(self, items: Sequence[AdoptedMedia]) -> list[Datastore]:
        whose = [(item.user_id, item.origin) for item in items]
        chosen = {each: await self._choose(_server_of(*each)) for each in set(whose)}
        return [chosen[each] for each in whose]

    async def _choose(self, server: str) -> Datastore:
        """Local media when the server is ours, by that server's rules (D64)."""
        config = self._config()
        domain = config.domains.get(server)
        if domain is not None:
            return await self._datastores.choose(Kind.LOCAL_MEDIA, domain)
        sections: list[HasDatastores] = [config, *config.domains.values()]
        for section in sections:
            if any(Kind.REMOTE_MEDIA in each.for_kinds for each in section.datastores):
                break
        return await self._datastores.choose(Kind.REMOTE_MEDIA, section)


def _server_of(user_id: str, origin: str) -> str:
    """Whose media it is: the uploader's server, or else the origin."""
    return (server_of_user(user_id) or origin).lower()


def _refusal(error: Exception) -> AdoptOutcome:
    """What an error of the commit says of the media, if it is the media's."""
    if isinstance(error, WrongHash):
        return AdoptOutcome(Adoption.DAMAGED, detail=str(error))
    if isinstance(error, IdTaken):
        return AdoptOutcome(Adoption.CONFLICT, detail=str(error))
    if isinstance(error, MatrixError) and error.status < 500:
        return AdoptOutcome(Adoption.REFUSED, detail=error.message)
    raise error


async def _piece(data: bytes) -> AsyncIterator[bytes]:
    yield data
