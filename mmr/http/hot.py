"""Answers that are given again without being worked out again.

Most requests ask for what was just asked for: the same picture with the same token.
Parsing, routing, authentication and formatting give the same result then, so the result
is kept. Whether it still holds is asked anew each time, of the same caches that the
long way asks (token, record, content): nothing has to be told when they change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import attrs

from mmr.errors import MatrixError
from mmr.http.head import RequestHead
from mmr.http.ranges import etag_matches
from mmr.http.request import MediaRequest

if TYPE_CHECKING:
    from mmr.config import DomainConfig
    from mmr.http.routing import Route
    from mmr.types import Requester

_MAX_ANSWERS = 20_000
# A longer target or token isn't worth keeping.
_MAX_KEY_BYTES = 1024
# What changes an answer, or makes the request one for the long way.
_KEY_HEADERS = (b"host", b"authorization", b"x-forwarded-host", b"accept")
_LONG_WAY = (b"range", b"content-length", b"transfer-encoding", b"expect")

Key = tuple[bytes, ...]
_NO_KEY: Key = ()
_NO_VALUE = [b""]


class Replay(Protocol):
    """Gives an answer's body again (`mmr.rest.replay`)."""

    def body(self) -> bytes | None:
        """The bytes, if the records are the same and the content is still warm.

        Raises:
            MatrixError: the caller may not have it any more.
        """
        ...

    def given(self) -> None:
        """Count the download."""
        ...


@attrs.frozen(slots=True)
class HotAnswer:
    """What the long way found out.

    Attributes:
        lines: The header lines of a 200.
        caching: Those of a 304.
        etag: To compare conditions with.
        is_proven: Whether the requester is still who they were.
    """

    route: Route
    host: str
    domain: DomainConfig
    requester: Requester
    lines: bytes
    caching: bytes
    etag: bytes
    is_proven: Callable[[], bool]
    replay: Replay


class HotAnswers:
    """The answers kept, the least recently given going first. Holds no bodies."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Key, HotAnswer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def keep(self, request: MediaRequest, answer: HotAnswer) -> None:
        """Remember an answer that was given the long way."""
        key = _key(request)
        if key is None:
            return
        self._answers[key] = answer
        if len(self._answers) > _MAX_ANSWERS:
            self._answers.popitem(last=False)

    def answer(self, request: MediaRequest) -> bool:
        """Write the kept answer, if there is one and it holds.

        Returns:
            False: nothing was written; the long way has to be gone.

        Raises:
            MatrixError: 429.
        """
        key = _key(request)
        found = self._answers.get(key) if key is not None else None
        if key is None or found is None:
            return False
        body = _body(found)
        if body is None:
            del self._answers[key]
            return False
        self._answers.move_to_end(key)
        request.route, request.host = found.route, found.host
        request.domain, request.requester = found.domain, found.requester
        request.limits.proven(request)
        condition = request.header(b"if-none-match")
        if condition is not None and etag_matches(condition, found.etag):
            request.respond(304, found.caching, b"")
        else:
            request.limits.reserve(request, len(body))
            request.respond(200, found.lines, body)
        found.replay.given()
        return True


def _body(answer: HotAnswer) -> bytes | None:
    try:
        return answer.replay.body() if answer.is_proven() else None
    except MatrixError:
        return None


def _key(request: MediaRequest) -> Key | None:
    """What the answer depends on; None for a request of the long way."""
    head = request.head
    # Only of trusted peers X-Forwarded-Host counts.
    if not request.peer_is_trusted and b"x-forwarded-host" in head.headers:
        return None
    if head.hot_key is None:
        head.hot_key = _key_of(head)
    return head.hot_key or None


def _key_of(head: RequestHead) -> Key:
    headers = head.headers
    if head.method != b"GET":
        return _NO_KEY
    for name in _LONG_WAY:
        if name in headers:
            return _NO_KEY
    key = [head.target]
    for name in _KEY_HEADERS:
        values = headers.get(name, _NO_VALUE)
        if len(values) != 1:
            return _NO_KEY
        key.append(values[0])
    return tuple(key) if sum(map(len, key)) <= _MAX_KEY_BYTES else _NO_KEY
