"""What a guarded client is asked to send."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from mmr.http.guard.errors import FetchFailed, Step
from mmr.http.guard.limits import Purpose
from mmr.http.guard.urls import GuardedUrl

_METHODS = {"GET", "HEAD"}
_TARGET = re.compile(r"/[\x21-\x7e]*\Z")
_HOST_HEADER = re.compile(r"[A-Za-z0-9._:\[\]-]{1,262}\Z")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[\t\x20-\x7e]*\Z")
# Ours to set, or never to be sent: nothing of a client's request goes along (R19).
_FORBIDDEN = {
    "accept-encoding",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "origin",
    "proxy-authorization",
    "range",
    "referer",
    "te",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-real-ip",
    "x-request-id",
}
_NO_HEADERS: Mapping[str, str] = {}


@attrs.frozen(kw_only=True)
class GuardedRequest:
    """A request to a place that strangers chose.

    Attributes:
        purpose: The limits.
        scheme: ``http`` or ``https``.
        connect_host: Name or address that is looked up, judged and connected to.
        port: Where.
        target: Path and query as they go on the wire.
        host_header: As it is sent.
        tls_name: Name or address that the certificate must hold, and SNI; None: that
            of `connect_host`.
        headers: More headers.
        method: ``GET`` or ``HEAD``.
        verify: Off: any certificate will do. All else is still checked (R18).
        user: Whoever caused it, for the bounds per user.
        headers_seconds: In the place of the purpose's.
        url: The URL that it is for, if there is one.
    """

    purpose: Purpose
    scheme: str
    connect_host: str
    port: int
    target: str
    host_header: str
    tls_name: str | None = None
    headers: Mapping[str, str] = _NO_HEADERS
    method: str = "GET"
    verify: bool = True
    user: str | None = None
    headers_seconds: float | None = None
    url: GuardedUrl | None = None

    @classmethod
    def for_url(
        cls,
        url: GuardedUrl,
        purpose: Purpose,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        verify: bool = True,
        user: str | None = None,
    ) -> GuardedRequest:
        """A plain GET of a URL."""
        return cls(
            purpose=purpose,
            scheme=url.scheme,
            connect_host=url.host,
            port=url.port,
            target=url.target,
            host_header=url.host_header,
            headers=headers,
            verify=verify,
            user=user,
            url=url,
        )

    def encode(self, user_agent: str) -> bytes:
        """The request's bytes.

        Raises:
            ValueError: a header that is not to be sent, or that would end the line.
            FetchFailed: a target or host that would.
        """
        if self.method not in _METHODS:
            raise ValueError(f"method {self.method!r}")
        if not _TARGET.match(self.target) or not _HOST_HEADER.match(self.host_header):
            raise FetchFailed(Step.URL, "malformed target or Host")
        coding = "gzip, deflate" if self.purpose.expands else "identity"
        lines = [
            f"{self.method} {self.target} HTTP/1.1",
            f"Host: {self.host_header}",
            f"Accept-Encoding: {coding}",
        ]
        headers = {"User-Agent": user_agent, **self.headers}
        for name, value in headers.items():
            _check_header(name, value)
            lines.append(f"{name}: {value}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")


def _check_header(name: str, value: str) -> None:
    if not _NAME.match(name) or name.lower() in _FORBIDDEN:
        raise ValueError(f"header {name!r} is not to be sent")
    if not _VALUE.match(value):
        raise ValueError(f"malformed value of header {name}")
