"""How the bytes of another server's media are had, and how that fails."""

from __future__ import annotations

from typing import Protocol

from mmr.types import Mxc


class StoredMedia(Protocol):
    """One media at its home."""

    @property
    def mxc(self) -> Mxc: ...
    @property
    def size_bytes(self) -> int | None: ...
    @property
    def is_quarantined(self) -> bool: ...

    @property
    def path(self) -> str:
        """Its file, below the media folder. Raises `UnsafeName`."""
        ...


class SourceError(Exception):
    """One media can't be read; the text says why. The others may be fine."""


class SourceBusy(SourceError):
    """It may be had later.

    Args:
        message: What happened.
        wait_s: When to ask again.
    """

    def __init__(self, message: str, wait_s: float = 1.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s
