"""How the bytes of another server's media are had, and how that fails."""

from __future__ import annotations


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
