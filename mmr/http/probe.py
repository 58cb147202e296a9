"""Requests that look at how somebody answers, whatever the answer is (`mmr.doctor`)."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, cast

import attrs

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse
from zope.interface import implementer

from mmr.http.client import FAULTS, UpstreamUnavailable, read_body, reason_of

_MAX_BYTES = 64 * 1024
_UA = "mmr-check"


@attrs.frozen
class Probed:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: By lower-case name; the last value of each.
        body: The JSON object; empty when it is none.
        text: The beginning of the body.
        date_ms: The server's clock, by its ``Date``; a second coarse.
    """

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    text: str
    date_ms: int | None

    @property
    def errcode(self) -> str:
        """Of a Matrix error; else empty."""
        return str(self.body.get("errcode", ""))


@implementer(IBodyProducer)
class _Announced:
    """A body that is only announced: nothing of it is ever sent."""

    def __init__(self, length: int) -> None:
        self.length: Any = length or UNKNOWN_LENGTH

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Send nothing."""
        return Deferred(lambda _: None)

    def pauseProducing(self) -> None:
        """Nothing to pause."""

    def resumeProducing(self) -> None:
        """Nothing to resume."""

    def stopProducing(self) -> None:
        """Nothing to stop."""


class Prober:
    """Asks servers that the operator named. Redirects are shown, not followed.

    Args:
        reactor: The reactor.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = cast(IReactorTime, reactor)
        self._agent = Agent(reactor, connectTimeout=10)

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        announced_bytes: int | None = None,
        timeout_s: float = 15,
    ) -> Probed:
        """Send one request on a connection of its own.

        Args:
            method: Such as ``GET``.
            url: Where; http or https.
            headers: More headers.
            announced_bytes: Announce a body so long, and never send it.
            timeout_s: Seconds for everything.

        Raises:
            UpstreamUnavailable: there was no answer.
        """
        sent = Headers({"User-Agent": [_UA], "Connection": ["close"]})
        for name, value in (headers or {}).items():
            sent.setRawHeaders(name, [value])
        body = None if announced_bytes is None else _Announced(announced_bytes)
        asking = Deferred.fromCoroutine(self._ask(method, url, sent, body))
        asking.addTimeout(timeout_s, self._reactor)
        try:
            return await asking
        except FAULTS as fault:
            raise UpstreamUnavailable(reason_of(fault)) from fault

    async def _ask(
        self, method: str, url: str, headers: Headers, body: _Announced | None
    ) -> Probed:
        response = await self._agent.request(
            method.encode("ascii"), _ascii(url), headers, body
        )
        return _probed(response, await read_body(response, _MAX_BYTES))


def _ascii(url: str) -> bytes:
    parts = urllib.parse.urlsplit(url)
    return (
        parts._replace(path=urllib.parse.quote(parts.path, "/%:@~")).geturl().encode()
    )


def _probed(response: IResponse, data: bytes) -> Probed:
    headers = {
        name.decode("latin-1").lower(): values[-1].decode("latin-1")
        for name, values in response.headers.getAllRawHeaders()
    }
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    return Probed(
        status=response.code,
        headers=headers,
        body=value if isinstance(value, dict) else {},
        text=data[:200].decode("utf-8", "replace"),
        date_ms=_date_ms(headers.get("date")),
    )


def _date_ms(text: str | None) -> int | None:
    try:
        return int(parsedate_to_datetime(text or "").timestamp() * 1000)
    except ValueError:
        return None
