"""The bytes of a homeserver's media: from its folder, else from itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmr.interop.homeserver_downloads import HomeserverDownloads
from mmr.interop.media_folder import MediaFolder
from mmr.interop.sources import SourceError, StoredMedia
from mmr.interop.synapse_store import UnsafeName


class StoredBytes:
    """Reads media. Blocks; many threads may use it at once.

    Args:
        folder: Where files are looked for first.
        downloads: Asked for what the folder doesn't have.
    """

    def __init__(
        self, folder: MediaFolder | None, downloads: HomeserverDownloads | None
    ) -> None:
        self._folder = folder
        self._downloads = downloads

    def chunks(self, media: StoredMedia) -> Iterator[bytes]:
        """Read one media.

        Raises:
            SourceError: when it can't be read.
            StartupError: when the homeserver refuses the access token.
        """
        if self._folder is not None:
            try:
                yield from self._folder.chunks(media.path)
            except (FileNotFoundError, UnsafeName) as error:
                if self._downloads is None:
                    raise _source_error(error) from error
            except OSError as error:
                raise _source_error(error) from error
            else:
                return
        if self._downloads is not None:
            yield from self._downloads.chunks(
                media.mxc, is_quarantined=media.is_quarantined
            )

    def read_small(self, media: Sequence[StoredMedia]) -> list[bytes | None]:
        """Read media from the folder, each whole; it should be small.

        Returns:
            None for what isn't there, or is not as its row says: `chunks` asks the
            homeserver for it, or says what is the matter.
        """
        if self._folder is None:
            return [None] * len(media)
        return [self._read(self._folder, each) for each in media]

    def _read(self, folder: MediaFolder, media: StoredMedia) -> bytes | None:
        if media.size_bytes is None:
            return None
        try:
            return folder.read(media.path, media.size_bytes)
        except (OSError, UnsafeName):
            return None

    def probe(self, media: StoredMedia) -> None:
        """Look whether one media is there. The homeserver itself isn't asked.

        Raises:
            SourceError: when its file is missing or has another size.
        """
        if self._folder is None or self._downloads is not None:
            return
        try:
            size = self._folder.size(media.path)
        except (OSError, UnsafeName) as error:
            raise _source_error(error) from error
        if size != media.size_bytes:
            raise SourceError(
                f"its file has {size} bytes, its row says {media.size_bytes}"
            )


def _source_error(error: Exception) -> SourceError:
    if isinstance(error, OSError):
        return SourceError(f"{error.filename}: {error.strerror}")
    return SourceError(str(error))
