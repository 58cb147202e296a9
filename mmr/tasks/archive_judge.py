"""What is believed of an archive's records (mmr-storage.md §5.3)."""

from __future__ import annotations

import functools
from collections.abc import Callable

from mmr.archives.manifest import ManifestHeader, MediaEntry
from mmr.config import Config
from mmr.media.adopted import AdoptedMedia
from mmr.types import server_of_user
from mmr.util.clock import Clock

_UNKNOWN_TYPE = "application/octet-stream"


class NotWanted(Exception):
    """A record of somebody else than was asked for."""


class Misplaced(Exception):
    """A record that isn't kept; the text says why."""


class Judge:
    """Makes media of the records of one manifest.

    Args:
        config: Has the limits of size; None: there are none.
        only_entity: Leave out all but what this user uploaded, or is of this server;
            empty: leave out nothing.
    """

    def __init__(
        self,
        header: ManifestHeader,
        config: Callable[[], Config] | None,
        clock: Clock,
        only_entity: str = "",
    ) -> None:
        self._header = header
        self._config = config
        self._clock = clock
        self._only_entity = only_entity
        # Archives hold a lot of few users.
        self._server_of = functools.lru_cache(maxsize=256)(server_of_user)

    def check(self, entry: MediaEntry) -> None:
        """Whether the record is one to keep.

        Raises:
            NotWanted: it isn't of the entity that was asked for.
            Misplaced: it claims an uploader from another server than its own.
        """
        uploader = self._header.uploader_of(entry)
        server = self._server_of(uploader)
        if self._only_entity not in ("", uploader, entry.origin):
            raise NotWanted
        if server is not None and server.lower() != entry.origin.lower():
            raise Misplaced(f"its uploader {uploader} is not of {entry.origin}")

    def media_of(self, entry: MediaEntry) -> AdoptedMedia:
        """The media that a checked record describes."""
        uploader = self._header.uploader_of(entry)
        # An archive of old may know neither.
        is_described = bool(entry.size_bytes or entry.sha256)
        return AdoptedMedia(
            origin=entry.origin,
            media_id=entry.media_id,
            content_type=entry.content_type or _UNKNOWN_TYPE,
            upload_name=entry.name,
            user_id="" if self._server_of(uploader) is None else uploader,
            creation_ts=entry.created_ts or self._clock.time_ms(),
            expected_sha256=entry.sha256 or None,
            expected_bytes=entry.size_bytes if is_described else None,
            max_bytes=self._limit_for(entry.origin),
        )

    def _limit_for(self, origin: str) -> int | None:
        """What an upload here, or a fetch from there, might have (R77)."""
        if self._config is None:
            return None
        config = self._config()
        domain = config.domains.get(origin.lower())
        limit = domain.uploads.max_bytes if domain else config.downloads.max_bytes
        return limit or None
