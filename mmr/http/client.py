"""The HTTP client for URLs from the configuration, and for nothing else (R8).

Names and URLs that strangers can influence go through the guarded client, never here.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping
from io import BytesIO
from typing import Any, TypeVar, cast

import attrs
from OpenSSL import SSL

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (  # type: ignore[attr-defined]
    Agent,
    FileBodyProducer,
    HTTPConnectionPool,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from mmr.errors import unavailable

R = TypeVar("R")

MAX_ERROR_BYTES = 64 * 1024
MAX_JSON_BYTES = 1024 * 1024
_MAX_PER_HOST = 50
_MAX_WAITING_PER_HOST = 1000
_IDLE_SECONDS = 60

# They hide the causes in a list.
_WRAPPERS = (ResponseFailed, RequestTransmissionFailed)
FAULTS = (
    error.ConnectError,
    error.ConnectingCancelledError,
    error.ConnectionClosed,
    error.DNSLookupError,
    error.TimeoutError,
    RequestNotSent,
    *_WRAPPERS,
    SSL.Error,
)


class UpstreamUnavailable(Exception):
    """A configured server gave no usable answer.

    Args:
        reason: What happened, for the log: never for clients (R5), never with a token.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def quote_segment(text: str) -> str:
    """Percent-encode a text into exactly one path segment (R76).

    Raises:
        ValueError: for what no encoding can protect: an empty text, ``.``, ``..``.
    """
    if text in {"", ".", ".."}:
        raise ValueError(f"{text!r} can't be a path segment")
    return urllib.parse.quote(text, safe="")


@attrs.define
class _Slots:
    """The bound on the requests to one host, and on those that wait for a turn."""

    semaphore: DeferredSemaphore = attrs.Factory(
        lambda: DeferredSemaphore(_MAX_PER_HOST)
    )

    @property
    def full(self) -> bool:
        return len(self.semaphore.waiting) >= _MAX_WAITING_PER_HOST


class TrustedClient:
    """JSON over HTTP(S) to servers that the operator named.

    Connections are kept and bounded per host; TLS certificates are verified; redirects
    are not followed; proxy settings of the environment are ignored; compressed answers
    are not asked for, so that the size limits count what is read.

    Args:
        reactor: The reactor.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = cast(IReactorTime, reactor)
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = _MAX_PER_HOST
        self._pool.cachedConnectionTimeout = _IDLE_SECONDS
        self._agent = Agent(reactor, pool=self._pool)
        # One entry per host of the configuration.
        self._slots: dict[str, _Slots] = {}
        self._running: set[Deferred[tuple[int, bytes]]] = set()

    async def close(self) -> None:
        """Cancel what still runs, and close the idle connections."""
        # Once it was answered, its connection would be kept for a next request.
        for exchange in tuple(self._running):
            exchange.cancel()
        await self._pool.closeCachedConnections()

    async def request_json(
        self,
        method: str,
        url: str,
        *,
        token: str | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        timeout_s: float = 30,
        max_bytes: int = MAX_JSON_BYTES,
    ) -> tuple[int, dict[str, Any]]:
        """Send a request and read a JSON object.

        Args:
            method: Such as ``GET``.
            url: From the configuration, plus segments made by `quote_segment`.
            token: Sent as bearer token, in the header only (D12).
            params: The query.
            headers: More headers.
            body: Sent as JSON.
            timeout_s: Seconds for everything: waiting for a turn, connecting, reading.
            max_bytes: The longest body of a 2xx answer; others have 64 KiB.

        Returns:
            The status and the object. Outside 2xx a body that is no JSON object counts
            as ``{}``.

        Raises:
            UpstreamUnavailable: no connection, timeout, broken or too long answer.
            MatrixError: 503 when too many requests wait for this host already.
        """
        if params:
            url = f"{url}?{urllib.parse.urlencode(params)}"
        exchange = Deferred.fromCoroutine(
            self._in_turn(
                method, url, _headers(token, headers), _encoded(body), max_bytes
            )
        )
        self._running.add(exchange)
        exchange.addTimeout(timeout_s, self._reactor, _timed_out)
        try:
            status, data = await exchange
        except FAULTS as e:
            if _is_cancelled(e):
                raise CancelledError from e
            raise UpstreamUnavailable(reason_of(e)) from e
        finally:
            self._running.discard(exchange)
        return status, _parse(status, data)

    async def _in_turn(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        max_bytes: int,
    ) -> tuple[int, bytes]:
        slots = self._slots.setdefault(urllib.parse.urlsplit(url).netloc, _Slots())
        if slots.full:
            raise unavailable("The server is busy (homeserver). Try again later.")
        await slots.semaphore.acquire()
        try:
            response = await self._agent.request(
                method.encode("ascii"),
                url.encode("ascii"),
                headers,
                FileBodyProducer(BytesIO(body)) if body is not None else None,
            )
            limit = max_bytes if response.code // 100 == 2 else MAX_ERROR_BYTES
            return response.code, await read_body(response, limit)
        finally:
            slots.semaphore.release()


def _headers(token: str | None, more: Mapping[str, str] | None) -> Headers:
    headers = Headers({"Accept": ["application/json"], "Accept-Encoding": ["identity"]})
    for name, value in (more or {}).items():
        headers.setRawHeaders(name, [value])
    if token is not None:
        headers.setRawHeaders("Authorization", [f"Bearer {token}"])
    return headers


def _encoded(body: Mapping[str, object] | None) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _parse(status: int, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    # A deeply nested text exhausts the parser's stack instead of being a syntax error.
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    if status // 100 == 2:
        raise UpstreamUnavailable(
            f"answered {status} with a body that is no JSON object"
        )
    return {}


def _timed_out(result: R | Failure, timeout_s: float) -> R:
    # A cancelled agent fails in several ways; all of them mean the same here.
    if isinstance(result, Failure):
        raise UpstreamUnavailable(f"no answer within {timeout_s:g} s")
    return result


def _is_cancelled(cause: BaseException) -> bool:
    """Whether our own caller gave up: that is no fault of the server."""
    if isinstance(cause, _WRAPPERS):
        return any(_is_cancelled(failure.value) for failure in cause.reasons)
    return isinstance(cause, CancelledError | error.ConnectingCancelledError)


def reason_of(cause: BaseException) -> str:
    """What went wrong, in one line for operators."""
    if isinstance(cause, _WRAPPERS):
        return "; ".join(reason_of(failure.value) for failure in cause.reasons)
    return f"{type(cause).__name__}: {cause}"


async def read_body(response: IResponse, limit: int) -> bytes:
    """The whole body.

    Raises:
        UpstreamUnavailable: it is longer than the limit.
    """
    reader = _BodyReader(limit)
    response.deliverBody(reader)
    return await reader.done


class _BodyReader(Protocol):
    """Collects a body up to a limit; past it, or when cancelled, hangs up."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self.done: Deferred[bytes] = Deferred(lambda _: self._hang_up())

    def dataReceived(self, data: bytes) -> None:
        """Keep the bytes unless they are too many."""
        if len(self._data) <= self._limit:
            self._data += data
            if len(self._data) > self._limit:
                self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hand over the body if it ended as announced."""
        if self.done.called:
            return
        if len(self._data) > self._limit:
            self.done.errback(
                UpstreamUnavailable(f"the answer is longer than {self._limit} bytes")
            )
        # PotentialDataLoss: HTTP/1.0 style, the end of the connection ends the body.
        elif reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(bytes(self._data))
        else:
            self.done.errback(reason)

    def _hang_up(self) -> None:
        # The response may be gone already.
        if self.transport is not None:
            self.transport.loseConnection()
