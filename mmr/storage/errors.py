"""What can go wrong in the database, as far as callers must tell it apart."""

from __future__ import annotations

from mmr.errors import MatrixError


class DatabaseUnavailable(Exception):
    """No connection can be had. Nothing has happened in the database."""


class CommitOutcomeUnknown(MatrixError):
    """The connection broke during COMMIT: the transaction may be in, or not (R96).

    The caller looks its rows up before it answers or deletes anything. Where doing it
    again does no harm, it lets the client do so: this is a 503.

    Args:
        detail: For the log.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(503, "M_UNKNOWN", "The database does not answer. Try again.")
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class MediaExists(Exception):
    """There is a record for this origin and media id already."""
