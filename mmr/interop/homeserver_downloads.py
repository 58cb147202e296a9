"""Media from a homeserver that runs, over its client-server API.

Everything here blocks and belongs in pool threads; many may use it at once. The address
is the operator's word, not a stranger's.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import urllib.parse
from collections.abc import Iterator, Mapping

from mmr.errors import StartupError
from mmr.interop.sources import SourceBusy, SourceError
from mmr.types import Mxc

CHUNK_BYTES = 256 * 1024
_TIMEOUT_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 60.0
_MAX_ERROR_BYTES = 64 * 1024
_AUTHENTICATED = "/_matrix/client/v1/media/download"
# What homeservers had before; frozen media is not to be had there (MSC3916).
_LEGACY = "/_matrix/media/v3/download"


class HomeserverDownloads:
    """Downloads from one homeserver, on connections that are kept.

    Args:
        base_url: Where it answers, such as ``http://localhost:8008``.
        token: Of any of its users; of an admin, for quarantined media. None: only
            routes without authentication.

    Raises:
        StartupError: when the address is none.
    """

    def __init__(
        self, base_url: str, token: str | None, timeout_s: float = _TIMEOUT_SECONDS
    ) -> None:
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StartupError(
                f"-baseUrl is {base_url!r}; expected http://HOST:PORT or https://HOST"
            )
        self.base_url = base_url.rstrip("/")
        self._parts = parts
        self._token = token
        self._timeout_s = timeout_s
        self._is_legacy = token is None
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []

    def chunks(self, mxc: Mxc, *, is_quarantined: bool = False) -> Iterator[bytes]:
        """Download one media.

        Args:
            is_quarantined: Ask for it all the same, as an admin may since Synapse
                1.145.

        Raises:
            SourceError: when the homeserver doesn't give it.
            SourceBusy: when it doesn't answer, or not now.
            StartupError: when it refuses the access token.
        """
        query = "?admin_unsafely_bypass_quarantine=true" if is_quarantined else ""
        path = f"/{_segment(mxc.origin)}/{_segment(mxc.media_id)}{query}"
        if not self._is_legacy:
            try:
                yield from self._download(_AUTHENTICATED + path)
            except _Unrecognized:
                # An old homeserver; from now on we know.
                self._is_legacy = True
            else:
                return
        yield from self._download(_LEGACY + path)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _download(self, path: str) -> Iterator[bytes]:
        connection = self._connect()
        try:
            with _failing(self.base_url):
                connection.request(
                    "GET", self._parts.path.rstrip("/") + path, headers=self._headers()
                )
                response = connection.getresponse()
            if response.status != 200:
                raise self._refusal(response)
            yield from _body(response, self.base_url)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)

    def _connect(self) -> http.client.HTTPConnection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        is_tls = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        return kind(
            str(self._parts.hostname), self._parts.port, timeout=self._timeout_s
        )

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _refusal(self, response: http.client.HTTPResponse) -> Exception:
        body = _error_body(response)
        errcode = str(body.get("errcode", ""))
        text = f"{self.base_url} answered {response.status} {errcode}".rstrip()
        if response.status == 401:
            return StartupError(f"{text}: the access token (-accessToken) is not valid")
        if response.status == 404 and errcode == "M_UNRECOGNIZED":
            return _Unrecognized(text)
        if response.status == 404 and self._token is None:
            text += " (media that only users may see needs -accessToken)"
        if response.status == 429 or response.status >= 500:
            return SourceBusy(text, _wait_of(response, body))
        return SourceError(text)


class _Unrecognized(SourceError):
    """The homeserver doesn't know the route."""


@contextlib.contextmanager
def _failing(base_url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise SourceBusy(f"{base_url}: {reason}") from error


def _body(response: http.client.HTTPResponse, base_url: str) -> Iterator[bytes]:
    while True:
        with _failing(base_url):
            chunk = response.read(CHUNK_BYTES)
        if not chunk:
            break
        yield chunk
    # The library takes a connection that is lost for the end of the body.
    if response.length:
        raise SourceBusy(f"{base_url}: the answer ended {response.length} bytes early")


def _error_body(response: http.client.HTTPResponse) -> dict[str, object]:
    try:
        body = json.loads(response.read(_MAX_ERROR_BYTES))
    except (ValueError, RecursionError, OSError, http.client.HTTPException):
        return {}
    return body if isinstance(body, dict) else {}


def _wait_of(response: http.client.HTTPResponse, body: Mapping[str, object]) -> float:
    after_ms = body.get("retry_after_ms")
    header = response.getheader("Retry-After", "")
    if isinstance(after_ms, int | float):
        wait = after_ms / 1000
    else:
        wait = float(header) if header.isdecimal() else 1.0
    return min(max(wait, 0.0), _LONGEST_WAIT_SECONDS)


def _segment(text: str) -> str:
    if text in ("", ".", ".."):
        raise SourceError(f"{text!r} can't be asked for")
    return urllib.parse.quote(text, safe="")
