"""URL previews: cached, else made once for all who ask (design §4, mmr-http-api §7)."""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs

from twisted.internet.defer import CancelledError, Deferred

from mmr.config import DomainConfig
from mmr.errors import MatrixError, not_found, unavailable
from mmr.http.guard import PREVIEW_BOUNDS, Bound, Budget, FetchFailed, parse_url
from mmr.media.preview_failures import PreviewFailures
from mmr.media.preview_fetch import (
    PreviewClients,
    PreviewFailed,
    PreviewSession,
)
from mmr.media.preview_images import CheckedImage, PreviewImages
from mmr.media.preview_keep import PreviewKeeper
from mmr.media.preview_sources import PreviewSources
from mmr.metrics import count_preview
from mmr.storage.previews import (
    PreviewKey,
    PreviewRecord,
    PreviewStore,
    bucket_of,
)
from mmr.util.clock import Clock
from mmr.util.single_flight import SingleFlight

logger = logging.getLogger(__name__)

# A client that opens a room full of links asks for all of them at once.
_MAX_WAITING_PER_USER = 50


@attrs.frozen
class PreviewQuery:
    """One request for a preview.

    Attributes:
        domain: The homeserver that was asked.
        user_id: Whoever asks, for the bounds per user.
        url: As it came.
        language: ``Accept-Language`` for the site.
        ts: The time, in ms since the epoch, whose preview is preferred; None: now.
    """

    domain: DomainConfig
    user_id: str | None
    url: str
    language: str
    ts: int | None = None


class Previews:
    """Finds previews and makes those that are missing.

    Args:
        max_running: ``urlPreviews.numWorkers``, as it is now.
    """

    def __init__(
        self,
        *,
        store: PreviewStore,
        clients: PreviewClients,
        sources: PreviewSources,
        images: PreviewImages,
        keeper: PreviewKeeper,
        clock: Clock,
        max_running: Callable[[], int],
    ) -> None:
        self._store = store
        self._clients = clients
        self._sources = sources
        self._images = images
        self._keeper = keeper
        self._clock = clock
        self._max_running = max_running
        self._failures = PreviewFailures(clock)
        self._flights: SingleFlight[PreviewKey, PreviewRecord]
        self._flights = SingleFlight(is_dropped=True)
        self._running: set[Deferred[PreviewRecord]] = set()
        self._admission = self._new_admission()

    def reload(self) -> None:
        """Take over a changed configuration: what failed by the old one may work."""
        self._failures.clear()
        # Whoever holds or waits for an old slot ends with it.
        self._admission = self._new_admission()

    def stop(self) -> None:
        """Give up what is being made."""
        for running in list(self._running):
            running.cancel()
        self._clients.close()

    async def get(self, query: PreviewQuery) -> PreviewRecord:
        """The preview of a URL.

        Raises:
            MatrixError: 404, one for all causes (R19); 503 when too much runs and
                waits.
        """
        try:
            url = str(parse_url(query.url))
        except FetchFailed as failure:
            logger.info("No preview: %s", failure)
            raise no_preview() from None
        key = PreviewKey(query.domain.name, url, query.language)
        now = self._clock.time_ms()
        # What was the future when somebody wrote it is not cached yet.
        wanted = min(now if query.ts is None else query.ts, now)
        found = await self._store.find_preview(key, bucket_of(wanted), bucket_of(now))
        if found is not None:
            return found
        if key in self._failures:
            raise no_preview()
        return await self._flights.run(key, lambda: self._run(query, key))

    def _new_admission(self) -> Budget:
        # Whole previews are bounded per site and user as well: the slots of the guarded
        # client alone would let one slow site hold all workers (R20).
        bounds = attrs.evolve(
            PREVIEW_BOUNDS,
            per_user=Bound(PREVIEW_BOUNDS.per_user.running, _MAX_WAITING_PER_USER),
            total=Bound(self._max_running(), PREVIEW_BOUNDS.total.waiting),
        )
        return Budget(self._clock, bounds)

    async def _run(self, query: PreviewQuery, key: PreviewKey) -> PreviewRecord:
        """Ends when all its askers have left (R66), and at `stop`."""
        running = Deferred.fromCoroutine(self._make(query, key))
        self._running.add(running)
        try:
            return await running
        except CancelledError:
            raise unavailable("The server is stopping.") from None
        finally:
            self._running.discard(running)

    async def _make(self, query: PreviewQuery, key: PreviewKey) -> PreviewRecord:
        host = parse_url(key.url).host
        slot = await self._admission.acquire(host, query.user_id)
        try:
            session = self._clients.session(query.domain, query.user_id, query.language)
            return await self._make_within(session, query.domain, key)
        except PreviewFailed as failure:
            # The whole URL may hold secrets of those who share it.
            logger.info("No preview of a page of %s: %s", host, failure)
            self._failures.remember(key, failure.cause)
            raise no_preview() from None
        finally:
            slot.release()

    async def _make_within(
        self, session: PreviewSession, domain: DomainConfig, key: PreviewKey
    ) -> PreviewRecord:
        found = await self._sources.find(session, domain, key.url)
        count_preview(found.kind)
        image: CheckedImage | None
        if found.image is not None:
            image = await self._images.check(domain, found.image)
        else:
            image = await self._images.first_good(session, domain, found.preview.images)
        preview = found.preview
        record = PreviewRecord(
            site_url=preview.url,
            site_name=preview.site_name,
            resource_type=preview.resource_type,
            title=preview.title,
            description=preview.description,
        )
        bucket_ts = bucket_of(self._clock.time_ms())
        return await self._keeper.keep(domain, key, bucket_ts, record, image)


def no_preview() -> MatrixError:
    """404: the same for every cause, so that nobody learns our network by it (R19)."""
    return not_found("No preview is available for this URL")
