"""Media that can be given again without looking anything up (`mmr.http.hot`)."""

from __future__ import annotations

import attrs

from mmr.media.content import Content
from mmr.media.downloads import Downloads, MediaQuery
from mmr.media.thumbnails import Thumbnails
from mmr.storage.media import MediaRecord
from mmr.storage.thumbnails import ThumbnailKey, ThumbnailRecord


@attrs.frozen(slots=True)
class DownloadReplay:
    """A download: it holds while the record in the cache is the very same."""

    downloads: Downloads
    content: Content
    query: MediaQuery
    record: MediaRecord

    def body(self) -> bytes | None:
        """See `mmr.http.hot.Replay.body`."""
        if self.downloads.warm(self.query) is not self.record:
            return None
        return self.content.warm(self.record)

    def given(self) -> None:
        """See `mmr.http.hot.Replay.given`."""
        self.downloads.served(self.record)
        self.content.count(self.record)


@attrs.frozen(slots=True)
class ThumbnailReplay:
    """A thumbnail: its original's record has to be the same as well."""

    downloads: Downloads
    thumbnails: Thumbnails
    content: Content
    query: MediaQuery
    original: MediaRecord
    key: ThumbnailKey
    record: ThumbnailRecord

    def body(self) -> bytes | None:
        """See `mmr.http.hot.Replay.body`."""
        if self.downloads.warm(self.query) is not self.original:
            return None
        if self.thumbnails.warm(self.key) is not self.record:
            return None
        return self.content.warm(self.record)

    def given(self) -> None:
        """See `mmr.http.hot.Replay.given`."""
        self.downloads.served(self.original)
        self.content.count(self.record)
