"""Why a remote server could not help, for the log and for clients."""

from __future__ import annotations

import enum
import json

from mmr.errors import MatrixError
from mmr.http.guard import FetchFailed
from mmr.http.guard import Step as FetchStep

_NOT_YET = {"M_NOT_YET_UPLOADED", "FI.MAU.MSC2246_NOT_YET_UPLOADED"}
# Of endpoints that a server, or the proxy before it, doesn't know (D40).
_UNKNOWN_STATUSES = {400, 401, 403, 404, 405}
_NOWHERE = {FetchStep.URL.value, FetchStep.DNS.value}
_BROKEN_AT = {
    FetchStep.HEADERS,
    FetchStep.STATUS,
    FetchStep.REDIRECT,
    FetchStep.BODY,
}


class Cause(enum.Enum):
    """What went wrong; it decides what clients see (matrix-media-spec §8.3)."""

    NOT_FOUND = "not found"
    NOT_YET_UPLOADED = "not yet uploaded"
    TOO_LARGE = "too large"
    REFUSED = "refused"
    """401 or 403: *our* server, or the one of several that asked (D40)."""
    RATE_LIMITED = "rate limited"
    BROKEN = "broken"
    """5xx, or an answer that makes no sense."""
    UNREACHABLE = "unreachable"


_CLIENT_ERRORS = {
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
        self, cause: Cause, step: str, detail: str, *, timed_out: bool = False
    ) -> None:
        status, errcode, message = _CLIENT_ERRORS[cause]
        if cause is Cause.UNREACHABLE and timed_out:
            status = 504
        super().__init__(status, errcode, message)
        self.cause = cause
        self.step = step
        self.detail = detail
        self.timed_out = timed_out

    def __str__(self) -> str:
        return f"{self.cause.value} at step {self.step!r}: {self.detail}"

    @property
    def is_unknown_server(self) -> bool:
        """The name leads nowhere, and rarely does soon after."""
        return self.step in _NOWHERE and not self.timed_out

    @property
    def is_servers_fault(self) -> bool:
        """Whether the server is in trouble; a refusal shows that it is alive."""
        return self.cause in {Cause.BROKEN, Cause.UNREACHABLE}


class RemoteAnswered(RemoteFailed):
    """The server answered, but not with what was asked for.

    Args:
        answer_status: Its status.
        errcode: Its Matrix error; None when the body is none.
    """

    def __init__(self, answer_status: int, errcode: str | None) -> None:
        cause = _cause_of_answer(answer_status, errcode)
        code = f" {errcode[:60]!r}" if errcode is not None else ""
        super().__init__(cause, "answer", f"{answer_status}{code}")
        self.answer_status = answer_status
        self.answer_errcode = errcode

    @classmethod
    def with_body(cls, status: int, body: bytes) -> RemoteAnswered:
        """From an error answer."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        errcode = value.get("errcode") if isinstance(value, dict) else None
        return cls(status, errcode if isinstance(errcode, str) else None)

    @property
    def is_servers_fault(self) -> bool:
        """Likewise; 4xx are no fault."""
        return self.cause is Cause.BROKEN and self.answer_status >= 500

    @property
    def is_unknown_endpoint(self) -> bool:
        """The server doesn't know this route; another one may be known (§8.3, D40)."""
        if self.answer_errcode is None:
            return self.answer_status in _UNKNOWN_STATUSES
        return self.answer_errcode == "M_UNRECOGNIZED"


def _cause_of_answer(status: int, errcode: str | None) -> Cause:
    if errcode in _NOT_YET:
        return Cause.NOT_YET_UPLOADED
    if errcode == "M_TOO_LARGE" or status == 413:
        return Cause.TOO_LARGE
    by_status = {
        401: Cause.REFUSED,
        403: Cause.REFUSED,
        404: Cause.NOT_FOUND,
        429: Cause.RATE_LIMITED,
    }
    return by_status.get(status, Cause.BROKEN)


def from_fetch(failure: FetchFailed, step: str | None = None) -> RemoteFailed:
    """What a failed guarded request means.

    Args:
        failure: Of the guarded client.
        step: In the place of the failure's own, when it happened on a side way.
    """
    cause = Cause.UNREACHABLE
    if failure.step is FetchStep.TOO_LARGE:
        cause = Cause.TOO_LARGE
    elif failure.step in _BROKEN_AT and not failure.timed_out:
        cause = Cause.BROKEN
    detail = failure.reason if step is None else str(failure)
    return RemoteFailed(
        cause, step or failure.step.value, detail, timed_out=failure.timed_out
    )
