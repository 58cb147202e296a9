"""Synapse's media store: which file is where, and reading it.

The layout is Synapse's own (synapse-internals.md §2.3); every path here is relative to
its ``media_store_path``, with slashes.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from mmr.errors import StartupError

_COMPONENT = re.compile(r"[A-Za-z0-9_\-.\[\]:]{1,255}\Z")
_DATED = re.compile(r"\d{4}-\d\d-\d\d_.")
_DATE_LENGTH = len("2020-08-17")

# Not blocking: a named pipe in the folder must not hold a thread for ever.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
CHUNK_BYTES = 256 * 1024
"""How much of a file is read at once."""


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


class SynapseFolder:
    """Synapse's media folder, and copies of it, for reading. Blocks.

    Args:
        bases: ``media_store_path``; then the folders of its ``file_system`` storage
            providers, which have the same layout.
        setting: What says so in the homeserver's configuration.

    Raises:
        StartupError: when one of them isn't a folder that can be read.
    """

    def __init__(
        self,
        bases: Sequence[Path],
        setting: str = "media_store_path of homeserver.yaml",
    ) -> None:
        self._bases = tuple(bases)
        for base in bases:
            try:
                os.scandir(base).close()
            except OSError as error:
                raise StartupError(
                    f"The media folder {base} cannot be read: {error.strerror}. "
                    f"It is {setting}."
                ) from error

    def open(self, path: str) -> int:
        """Open a file, in the first folder that has it; gives its descriptor.

        Links are followed: the folder is the operator's, and so are links in it.

        Raises:
            FileNotFoundError: when no folder has it.
            OSError: when it can't be read, or isn't a regular file.
        """
        for base in self._bases:
            try:
                return _open_regular(os.path.join(base, path))
            except FileNotFoundError:
                continue
        where = os.path.join(self._bases[0], path)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), where)

    def size(self, path: str) -> int:
        """Bytes of a file. Raises as `open` does."""
        fd = self.open(path)
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def chunks(self, path: str) -> Iterator[bytes]:
        """Read a file to its end. Raises as `open` does, at the first chunk."""
        fd = self.open(path)
        try:
            while chunk := os.read(fd, CHUNK_BYTES):
                yield chunk
        finally:
            os.close(fd)


def _open_regular(path: str) -> int:
    fd = os.open(path, _READ)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "not a regular file", path)
