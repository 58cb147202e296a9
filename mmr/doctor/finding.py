"""What the doctor says."""

from __future__ import annotations

import enum

import attrs


class Level(enum.Enum):
    """How bad it is."""

    GOOD = "good"
    WARNING = "warning"
    FAULT = "fault"


@attrs.frozen
class Finding:
    """One sentence, and what to do.

    Attributes:
        level: How bad it is.
        subject: What was looked at, such as ``proxy example.org``.
        text: What was found.
        fix: What to change; empty when all is well.
    """

    level: Level
    subject: str
    text: str
    fix: str = ""


def good(subject: str, text: str) -> Finding:
    """All is well."""
    return Finding(Level.GOOD, subject, text)


def warning(subject: str, text: str, fix: str) -> Finding:
    """It works, but not as it could."""
    return Finding(Level.WARNING, subject, text, fix)


def fault(subject: str, text: str, fix: str) -> Finding:
    """Somebody will miss something."""
    return Finding(Level.FAULT, subject, text, fix)
