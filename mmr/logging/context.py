"""Which request, or which background process, the running code works for."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import attrs

SENTINEL = "sentinel"


@attrs.define(slots=True)
class RequestInfo:
    """What log lines tell about the work they belong to.

    Attributes:
        request_id: Such as ``GET-17``, or ``<process>-<n>`` for background work.
        host: The server name asked for; empty for background work.
        requester: `mmr.types.Requester.log_name`, once known.
        db_count: Queries and transactions so far.
        db_seconds: What was waited for them.
    """

    request_id: str
    host: str = ""
    requester: str = "None"
    db_count: int = 0
    db_seconds: float = 0.0


_current: ContextVar[RequestInfo | None] = ContextVar("mmr_request", default=None)
_runs: Counter[str] = Counter()


def enter_request(info: RequestInfo) -> None:
    """Let everything that this context starts from now on log under the request."""
    _current.set(info)


def current_request() -> RequestInfo | None:
    """The request or background process at work; None between them."""
    return _current.get()


@contextmanager
def background(name: str) -> Iterator[None]:
    """Log what happens inside under the name of a background process and a number."""
    _runs[name] += 1
    token = _current.set(RequestInfo(f"{name}-{_runs[name]}"))
    try:
        yield
    finally:
        _current.reset(token)


def install_record_factory() -> None:
    """Give each log record its ``request`` when it is made.

    At creation, not in a handler: a handler may format it in another context.
    """
    logging.setLogRecordFactory(_Record)


class _Record(logging.LogRecord):
    """A log record that knows its request."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        info = _current.get()
        self.request = SENTINEL if info is None else info.request_id
