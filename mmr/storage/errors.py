"""What can go wrong in the database, as far as callers must tell it apart."""

from __future__ import annotations


class DatabaseUnavailable(Exception):
    """No connection can be had. Nothing has happened in the database."""


class CommitOutcomeUnknown(Exception):
    """The connection broke during COMMIT: the transaction may be in, or not (R96).

    The caller looks its rows up before it answers or deletes anything.
    """


class MediaExists(Exception):
    """There is a record for this origin and media id already."""
