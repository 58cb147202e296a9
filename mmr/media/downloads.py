"""Which media a caller gets: lookup, restrictions, waiting (mmr-http-api.md §5.2)."""

from __future__ import annotations

from collections.abc import Callable, Collection

import attrs

from mmr.config import DomainConfig
from mmr.errors import blocked, needs_auth, not_found, not_yet_uploaded
from mmr.media.last_access import LastAccess
from mmr.media.records import MediaRecords
from mmr.media.remote import RemoteMedia
from mmr.media.transfer import Transfer
from mmr.media.waiters import UploadWaiters
from mmr.metrics import observe_media_age
from mmr.storage.media import MediaRecord
from mmr.storage.pending import PendingStore
from mmr.types import Mxc, Requester
from mmr.util.clock import Clock


@attrs.frozen(slots=True)
class MediaQuery:
    """One request for one media.

    Attributes:
        domain: The homeserver that was asked.
        allow_remote: Whether the origin may be asked for it.
        wait_ms: How long to wait for media that is reserved but not uploaded yet.
        asker: The user, else the address: who is charged for a fetch (R20).
    """

    domain: DomainConfig
    mxc: Mxc
    requester: Requester
    allow_remote: bool = True
    wait_ms: int = 20_000
    asker: str | None = None


@attrs.frozen(slots=True)
class DownloadRules:
    """What the configuration says at this moment.

    Attributes:
        freeze: ``repo.freezeUnauthenticatedMedia``.
        ignored_hosts: ``federation.ignoredHosts``, lower case.
        is_ours: Whether a server name is one of our homeservers.
    """

    freeze: Callable[[], bool]
    ignored_hosts: Callable[[], Collection[str]]
    is_ours: Callable[[str], bool]


class Downloads:
    """Finds the media that a caller may have."""

    def __init__(
        self,
        *,
        records: MediaRecords,
        pending: PendingStore,
        waiters: UploadWaiters,
        remote: RemoteMedia,
        last_access: LastAccess,
        clock: Clock,
        rules: DownloadRules,
    ) -> None:
        self._records = records
        self._pending = pending
        self._waiters = waiters
        self._remote = remote
        self._last_access = last_access
        self._clock = clock
        self._rules = rules

    def warm(self, query: MediaQuery) -> MediaRecord | None:
        """The record if it is in the cache and the caller may have it. No wait.

        Raises:
            MatrixError: as `find`.
        """
        self._check_hosts(query)
        record = self._records.cached(query.mxc)
        if record is not None:
            self._check_restriction(record, query.requester)
        return record

    async def find(self, query: MediaQuery) -> MediaRecord | Transfer:
        """The record, or the fetch that is just bringing the file in.

        A record may be quarantined: its bytes then stay where they are.

        Raises:
            MatrixError: 403 for an ignored server; 404 when there is no such media or
                the caller must prove who they are first; 502, 503 or 504 when its
                origin can't be asked; 504 when it is reserved and its upload didn't
                come in time.
        """
        self._check_hosts(query)
        record = await self._records.get(query.mxc)
        if record is None:
            record = await self._wait_for_upload(query)
        if record is None:
            transfer = await self._fetch(query)
            if transfer.record is None:
                return transfer
            record = transfer.record
        self._check_restriction(record, query.requester)
        return record

    async def find_record(self, query: MediaQuery) -> MediaRecord:
        """The record; of remote media when the whole file is there.

        Raises:
            MatrixError: as `find`.
        """
        found = await self.find(query)
        return await found.finished() if isinstance(found, Transfer) else found

    def served(self, record: MediaRecord) -> None:
        """Note that the media was asked for and will be given."""
        now = self._clock.time_ms()
        self._last_access.note(record.sha256_hash, now)
        observe_media_age((now - record.creation_ts) / 1000)

    def _check_hosts(self, query: MediaQuery) -> None:
        ignored = self._rules.ignored_hosts()
        if not ignored:
            return
        requester = query.requester
        if requester.server is not None and requester.server.lower() in ignored:
            raise blocked()
        # Open to repository admins, who have to look into what was reported.
        is_admin = requester.is_admin and not requester.is_shared_secret
        if query.mxc.origin.lower() in ignored and not is_admin:
            raise blocked()

    def _check_restriction(self, record: MediaRecord, requester: Requester) -> None:
        if record.requires_auth and not requester.is_authenticated:
            raise needs_auth()

    async def _wait_for_upload(self, query: MediaQuery) -> MediaRecord | None:
        mxc = query.mxc
        pending = await self._pending.get_pending(mxc.origin, mxc.media_id)
        if pending is None or pending.expires_ts < self._clock.time_ms():
            # The upload may have ended between the two lookups.
            return await self._records.get(mxc)
        found = await self._waiters.wait_for(
            mxc, lambda: self._records.get(mxc), query.wait_ms / 1000
        )
        if found is None:
            raise not_yet_uploaded()
        return found

    async def _fetch(self, query: MediaQuery) -> Transfer:
        requester = query.requester
        # What came over federation never goes out again: two servers could ask each
        # other for ever (R21).
        if (
            not query.allow_remote
            or requester.server is not None
            or self._rules.is_ours(query.mxc.origin)
        ):
            raise not_found()
        # Strangers don't make us fetch (R41), and what would be fetched now would be
        # frozen for them anyway.
        if self._rules.freeze() and not requester.is_authenticated:
            raise needs_auth()
        if not requester.is_authenticated and await self._records.was_frozen(query.mxc):
            raise needs_auth()
        return await self._remote.fetch(
            query.domain, query.mxc, query.wait_ms, query.asker
        )
