"""What a hook is shown, and what it answers."""

from __future__ import annotations

import enum
from collections.abc import Hashable
from pathlib import Path
from typing import Protocol

import attrs


class Answer(enum.Enum):
    """What a module gives for a file that is fine."""

    NOT_SPAM = "NOT_SPAM"


NOT_SPAM = Answer.NOT_SPAM


class CheckFailed(Exception):
    """The hook has no verdict; the text says why, for the log."""


@attrs.frozen(kw_only=True)
class FileInfo:
    """Where a file comes from. The first four names are Synapse's.

    Attributes:
        server_name: The remote server; None for local files.
        file_id: The media id.
        url_cache: It is the picture of a URL preview.
        thumbnail: None: thumbnails are made from files that were checked.
        origin: The server that the media belongs to.
        user_id: The uploader; empty for remote files and previews.
        content_type: As the sender says.
        upload_name: Likewise; empty for none.
    """

    server_name: str | None
    file_id: str
    url_cache: bool = False
    thumbnail: None = None
    origin: str
    user_id: str
    content_type: str
    upload_name: str


@attrs.frozen(kw_only=True)
class FileToCheck:
    """A file that isn't kept yet.

    Attributes:
        path: Readable by this user's processes until the answer.
        sha256: In hex.
    """

    path: Path
    size: int
    sha256: str
    info: FileInfo


class Plugin(Protocol):
    """One hook."""

    @property
    def name(self) -> str:
        """For the log."""
        ...

    def context(self, info: FileInfo) -> Hashable:
        """What the verdict depends on beside the content."""
        ...

    async def check(self, file: FileToCheck) -> bool:
        """Whether the file is to be refused.

        Raises:
            CheckFailed: nobody can tell now.
        """
        ...

    async def stop(self) -> None:
        """End what runs for it."""
        ...
