"""Why a remote server could not help, for the log and for clients."""

from __future__ import annotations

import enum

from mmr.errors import MatrixError


class Cause(enum.Enum):
    """What went wrong; it decides what clients see (`matrix-media-spec` §8.3)."""

    NOT_FOUND = "not found"
    NOT_YET_UPLOADED = "not yet uploaded"
    TOO_LARGE = "too large"
    REFUSED = "refused"
    """401 or 403: of *our* server, so it says nothing to others (D40)."""
    RATE_LIMITED = "rate limited"
    BROKEN = "broken"
    """5xx, or an answer that makes no sense."""
    UNREACHABLE = "unreachable"


class Step(enum.Enum):
    """What was under way, for the log."""

    NAME = "server name"
    BACK_OFF = "back-off"
    DNS = "dns"
    DENIED = "denied network"
    CONNECT = "connect"
    TLS = "tls"
    HEADERS = "headers"
    ANSWER = "answer"
    MULTIPART = "multipart"
    LOCATION = "location"
    BODY = "body"
    DOCUMENT = "document"


_ANSWERS = {
    Cause.NOT_FOUND: (404, "M_NOT_FOUND", "Not found"),
    Cause.NOT_YET_UPLOADED: (504, "M_NOT_YET_UPLOADED", "Media not yet uploaded"),
    Cause.TOO_LARGE: (502, "M_TOO_LARGE", "The remote media is too large"),
    Cause.REFUSED: (502, "M_UNKNOWN", "The remote server refused the request"),
    Cause.RATE_LIMITED: (502, "M_UNKNOWN", "The remote server is busy"),
    Cause.BROKEN: (502, "M_UNKNOWN", "The remote server failed"),
    Cause.UNREACHABLE: (502, "M_UNKNOWN", "The remote server can't be reached"),
}


class RemoteFailed(MatrixError):
    """A remote server could not help. Clients get it as it is.

    Args:
        cause: What went wrong.
        step: What was under way.
        detail: For the log alone: clients learn nothing of our network (R5, R19).
        timed_out: A limit of time was passed: 504.
    """

    def __init__(
        self, cause: Cause, step: Step, detail: str, *, timed_out: bool = False
    ) -> None:
        status, errcode, message = _ANSWERS[cause]
        if cause is Cause.UNREACHABLE and timed_out:
            status = 504
        super().__init__(status, errcode, message)
        self.cause = cause
        self.step = step
        self.detail = detail
        self.timed_out = timed_out

    def __str__(self) -> str:
        return f"{self.cause.value} at step {self.step.value!r}: {self.detail}"

    @property
    def is_unknown_server(self) -> bool:
        """The name leads nowhere, and rarely does soon after."""
        return self.step in {Step.NAME, Step.DNS} and not self.timed_out
