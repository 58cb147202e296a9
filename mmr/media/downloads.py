"""Which media a caller gets: lookup, restrictions, waiting (mmr-http-api.md §5.2)."""

from __future__ import annotations

from collections.abc import Callable, Collection

import attrs

from mmr.errors import blocked, needs_auth, not_found, not_yet_uploaded
from mmr.media.last_access import LastAccess
from mmr.media.records import MediaRecords
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
        wait_s: How long to wait for media that is reserved but not uploaded yet.
    """

    mxc: Mxc
    requester: Requester
    wait_s: float = 20.0


class Downloads:
    """Finds the record that a caller may have.

    Args:
        ignored_hosts: ``federation.ignoredHosts``, lower case, as they are now.
    """

    def __init__(
        self,
        *,
        records: MediaRecords,
        pending: PendingStore,
        waiters: UploadWaiters,
        last_access: LastAccess,
        clock: Clock,
        ignored_hosts: Callable[[], Collection[str]],
    ) -> None:
        self._records = records
        self._pending = pending
        self._waiters = waiters
        self._last_access = last_access
        self._clock = clock
        self._ignored_hosts = ignored_hosts

    def warm(self, query: MediaQuery) -> MediaRecord | None:
        """The record if it is in the cache and the caller may have it. No wait.

        Raises:
            MatrixError: as `find`.
        """
        self._check_origin(query)
        record = self._records.cached(query.mxc)
        if record is not None:
            self._check_restriction(record, query.requester)
        return record

    async def find(self, query: MediaQuery) -> MediaRecord:
        """The record. It may be quarantined: its bytes then stay where they are.

        Raises:
            MatrixError: 403 for an ignored origin; 404 when there is no such media or
                the caller must prove who they are first; 504 when it is reserved and
                its upload didn't come in time.
        """
        self._check_origin(query)
        record = await self._records.get(query.mxc)
        if record is None:
            record = await self._wait_for_upload(query)
        self._check_restriction(record, query.requester)
        return record

    def served(self, record: MediaRecord) -> None:
        """Note that the media was asked for and will be given."""
        now = self._clock.time_ms()
        self._last_access.note(record.sha256_hash, now)
        observe_media_age((now - record.creation_ts) / 1000)

    def _check_origin(self, query: MediaQuery) -> None:
        # An ignored origin is closed to everybody but repository admins.
        ignored = self._ignored_hosts()
        if (
            ignored
            and query.mxc.origin.lower() in ignored
            and not (query.requester.is_admin and not query.requester.is_shared_secret)
        ):
            raise blocked()

    def _check_restriction(self, record: MediaRecord, requester: Requester) -> None:
        if record.requires_auth and not requester.is_authenticated:
            raise needs_auth()

    async def _wait_for_upload(self, query: MediaQuery) -> MediaRecord:
        mxc = query.mxc
        pending = await self._pending.get_pending(mxc.origin, mxc.media_id)
        if pending is None or pending.expires_ts < self._clock.time_ms():
            # The upload may have ended between the two lookups.
            record = await self._records.get(mxc)
            if record is None:
                raise not_found()
            return record
        found = await self._waiters.wait_for(
            mxc, lambda: self._records.get(mxc), query.wait_s
        )
        if found is None:
            raise not_yet_uploaded()
        return found
