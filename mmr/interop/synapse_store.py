"""Synapse's media store: which file is where.

The layout is Synapse's own (synapse-internals.md §2.3); every path here is relative to
its ``media_store_path``, with slashes.
"""

from __future__ import annotations

import re

import attrs

_COMPONENT = re.compile(r"[A-Za-z0-9_\-.\[\]:]{1,255}\Z")
_DATED = re.compile(r"\d{4}-\d\d-\d\d_.")
_DATE_LENGTH = len("2020-08-17")


class UnsafeName(ValueError):
    """An id or a server name that can't be part of a path."""


@attrs.frozen(slots=True)
class ThumbnailName:
    """What the name of a thumbnail's file is made of."""

    width: int
    height: int
    content_type: str
    method: str

    def __str__(self) -> str:
        return f"{self.without_method}-{self.method}"

    @property
    def without_method(self) -> str:
        """The name that old Synapses gave to thumbnails of remote media."""
        # "image/png" makes two parts, anything else may not make three.
        return "-".join(
            (str(self.width), str(self.height), *self.content_type.split("/", 1))
        )


def local_content(media_id: str) -> str:
    """Where a local file is.

    Raises:
        UnsafeName: as every function of this kind here: when a part has a character
            that Synapse doesn't take in a path, or is empty.
    """
    return _join("local_content", *_split(media_id))


def remote_content(origin: str, filesystem_id: str) -> str:
    """Where a remote file is. The media id is no part of it."""
    return _join("remote_content", origin, *_split(filesystem_id))


def local_thumbnail(media_id: str, name: ThumbnailName) -> str:
    """Where a local thumbnail is."""
    return _join("local_thumbnails", *_split(media_id), str(name))


def remote_thumbnails(
    origin: str, filesystem_id: str, name: ThumbnailName
) -> tuple[str, str]:
    """Where a remote thumbnail is: Synapse's place, and its old place."""
    parts = ("remote_thumbnail", origin, *_split(filesystem_id))
    return _join(*parts, str(name)), _join(*parts, name.without_method)


def url_cache(media_id: str) -> str:
    """Where the page or picture behind a preview is."""
    return _join("url_cache", *_split_dated(media_id))


def url_cache_thumbnail(media_id: str, name: ThumbnailName) -> str:
    """Where the thumbnail of a preview's picture is."""
    return _join("url_cache_thumbnails", *_split_dated(media_id), str(name))


def _split(file_id: str) -> tuple[str, str, str]:
    return file_id[:2], file_id[2:4], file_id[4:]


def _split_dated(media_id: str) -> tuple[str, ...]:
    if _DATED.match(media_id):
        return media_id[:_DATE_LENGTH], media_id[_DATE_LENGTH + 1 :]
    return _split(media_id)


def _join(*parts: str) -> str:
    for part in parts:
        if not _COMPONENT.match(part) or part in (".", ".."):
            raise UnsafeName(f"{part!r} can't be a part of a path in Synapse's store")
    return "/".join(parts)
