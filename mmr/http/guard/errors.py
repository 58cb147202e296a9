"""What may go wrong with a guarded request, by the step that failed."""

from __future__ import annotations

import enum


class Step(enum.Enum):
    """Where a guarded request ended."""

    URL = "url"
    """The URL, host or port is refused before anything is looked up (R12, R13)."""
    DNS = "dns"
    DENIED = "denied"
    """An address is in a network that is out of bounds (R9)."""
    CONNECT = "connect"
    TLS = "tls"
    HEADERS = "headers"
    STATUS = "status"
    REDIRECT = "redirect"
    BODY = "body"
    TOO_LARGE = "too large"


class FetchFailed(Exception):
    """A guarded request failed.

    The text is for the log. Clients see one answer for all of them (R19).

    Args:
        step: What was under way.
        reason: What happened.
        timed_out: A limit of time was passed (R15).
    """

    def __init__(self, step: Step, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(f"{step.value}: {reason}")
        self.step = step
        self.reason = reason
        self.timed_out = timed_out
