"""Asks the origin for a file, by whichever route that origin knows."""

from __future__ import annotations

import enum
import logging
import urllib.parse
from collections.abc import AsyncIterator, Callable

import attrs

from mmr.config import DomainConfig
from mmr.errors import ConfigError, unavailable
from mmr.federation.client import FederationClient, FederationRequest
from mmr.federation.errors import Cause, RemoteAnswered, RemoteFailed, from_fetch
from mmr.federation.expiring import Expiring
from mmr.federation.header_values import file_name
from mmr.federation.multipart import (
    MAX_FRAMING_BYTES,
    Envelope,
    MultipartError,
    open_envelope,
)
from mmr.http.guard import FetchFailed, GuardedResponse, Purpose
from mmr.http.headers import clean_content_type
from mmr.metrics import count_remote_attempt
from mmr.types import Mxc
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

_MAX_KNOWN = 10_000
_KNOWN_S = 3600.0
_NO_LIMIT = 1 << 62


class Endpoint(enum.Enum):
    """Where servers have media, in the order in which they are asked.

    The value is the path, with ``{origin}`` and ``{media_id}``.
    """

    FEDERATION = "/_matrix/federation/v1/media/download/{media_id}"
    MSC1902 = "/_matrix/federation/v1/remote_media/download/{origin}/{media_id}"
    MSC1902_UNSTABLE = (
        "/_matrix/federation/unstable/org.matrix.msc1902"
        "/remote_media/download/{origin}/{media_id}"
    )
    LEGACY = "/_matrix/media/v3/download/{origin}/{media_id}"
    LEGACY_R0 = "/_matrix/media/r0/download/{origin}/{media_id}"

    @property
    def is_signed(self) -> bool:
        """Whether it is for servers alone."""
        return self.value.startswith("/_matrix/federation/")

    def target(self, mxc: Mxc, wait_ms: int) -> str:
        """Path and query."""
        origin = urllib.parse.quote(mxc.origin, safe="")
        path = self.value.format(origin=origin, media_id=mxc.media_id)
        query = f"timeout_ms={wait_ms}"
        if self is not Endpoint.FEDERATION:
            # Without it, two servers could ask each other for ever (R21).
            query = f"allow_remote=false&allow_redirect=true&{query}"
        return f"{path}?{query}"


class RemoteFile:
    """A file that a remote server is sending.

    Attributes:
        content_type: As it says.
        name: Likewise; empty for none.
        size: As announced; None when it is not.
        body: The bytes. Raises `RemoteFailed` when they end early or are too many.
    """

    def __init__(
        self,
        response: GuardedResponse,
        headers: Callable[[str], str | None],
        size: int | None,
        body: AsyncIterator[bytes],
    ) -> None:
        self.content_type = clean_content_type(headers("content-type"))
        self.name = file_name(headers("content-disposition"))
        self.size = size
        self.body = body
        self._response = response

    async def close(self) -> None:
        """End the connection, if something is still to come over it."""
        self._response.abort()


@attrs.frozen
class _Wanted:
    """What is wanted, in whose name, and because of whom."""

    domain: DomainConfig
    mxc: Mxc
    wait_ms: int
    user: str | None


@attrs.frozen
class _Limits:
    max_bytes: int
    purpose: Purpose


class RemoteMediaClient:
    """Opens files of other servers, and remembers which routes each of them knows.

    Args:
        client: For the requests.
        clock: The time.
        is_own: Whether a server name is one of ours: those are never asked (R21).
    """

    def __init__(
        self, client: FederationClient, clock: Clock, is_own: Callable[[str], bool]
    ) -> None:
        self._client = client
        self._is_own = is_own
        self._known: Expiring[str, Endpoint] = Expiring(clock, _MAX_KNOWN)

    async def open(
        self, domain: DomainConfig, mxc: Mxc, wait_ms: int, user: str | None = None
    ) -> RemoteFile:
        """Find the file, and begin to receive it.

        Args:
            domain: In whose name we ask.
            mxc: Of another server.
            wait_ms: How long the origin may wait for an upload that is to come.
            user: Whoever asks for it, for the bounds per user (R20).

        Raises:
            RemoteFailed: with the cause, which clients may see.
            MatrixError: 503: we can't ask now.
        """
        try:
            if self._is_own(mxc.origin):
                raise RemoteFailed(Cause.NOT_FOUND, "server name", "our own")
            return await self._open(_Wanted(domain, mxc, wait_ms, user))
        except RemoteFailed as failure:
            # Back-off has said so once already, when it began.
            is_news = failure.is_servers_fault and failure.step != "back-off"
            level = logging.WARNING if is_news else logging.INFO
            logger.log(level, "Asking for %s failed: %s", mxc, failure)
            raise
        except ConfigError as error:
            logger.error("Asking for %s failed at step 'signing': %s", mxc, error)
            raise unavailable("The server can't sign requests.") from error

    async def _open(self, wanted: _Wanted) -> RemoteFile:
        has_key = bool(wanted.domain.signing_key_path)
        endpoints = [e for e in Endpoint if has_key or not e.is_signed]
        origin = wanted.mxc.origin
        known = self._known.get(origin)
        if known in endpoints[1:]:
            try:
                return await self._ask(known, wanted)
            except RemoteAnswered as failure:
                # After an upgrade the old route only has old media.
                is_outdated = failure.cause in {Cause.NOT_FOUND, Cause.REFUSED}
                if not is_outdated and not failure.is_unknown_endpoint:
                    raise
                self._known.drop(origin)
        return await self._try_all(endpoints, wanted)

    async def _try_all(self, endpoints: list[Endpoint], wanted: _Wanted) -> RemoteFile:
        for endpoint in endpoints:
            try:
                file = await self._ask(endpoint, wanted)
            except RemoteAnswered as failure:
                if not failure.is_unknown_endpoint or endpoint is endpoints[-1]:
                    raise
            else:
                self._known.put(wanted.mxc.origin, endpoint, _KNOWN_S)
                return file
        raise AssertionError("the last endpoint's answer is final")

    async def _ask(self, endpoint: Endpoint, wanted: _Wanted) -> RemoteFile:
        domain, mxc = wanted.domain, wanted.mxc
        seconds = float(domain.timeouts.federation_timeout_seconds)
        limits = _Limits(
            domain.downloads.max_bytes or _NO_LIMIT,
            Purpose("federation media", headers_seconds=seconds),
        )
        request = FederationRequest(
            destination=mxc.origin,
            target=endpoint.target(mxc, wanted.wait_ms),
            purpose=limits.purpose,
            signed_by=domain if endpoint.is_signed else None,
            follows=endpoint is not Endpoint.FEDERATION,
            user=wanted.user,
        )
        count_remote_attempt(mxc.origin)
        response = await self._client.get(request)
        try:
            if endpoint is Endpoint.FEDERATION:
                return await self._unwrap(response, limits, wanted.user)
            return _plain(response, limits)
        except BaseException:
            response.abort()
            raise

    async def _unwrap(
        self, response: GuardedResponse, limits: _Limits, user: str | None
    ) -> RemoteFile:
        if response.length is not None:
            _check_size(response.length - MAX_FRAMING_BYTES, limits)
        envelope = await _open_envelope(response)
        location = envelope.headers.get("location")
        if location is not None:
            response.abort()
            there = await self._client.follow(location, limits.purpose, user)
            return _plain(there, limits)
        body = _checked(envelope.body, limits)
        return RemoteFile(response, envelope.headers.get, None, body)


async def _open_envelope(response: GuardedResponse) -> Envelope:
    content_type = response.header("content-type") or ""
    try:
        return await open_envelope(content_type, response.body)
    except MultipartError as error:
        raise RemoteFailed(Cause.BROKEN, "multipart", str(error)) from error
    except FetchFailed as failure:
        raise from_fetch(failure) from failure


def _plain(response: GuardedResponse, limits: _Limits) -> RemoteFile:
    try:
        if response.length is not None:
            _check_size(response.length, limits)
    except RemoteFailed:
        response.abort()
        raise
    body = _checked(response.body, limits)
    return RemoteFile(response, response.header, response.length, body)


def _check_size(size: int, limits: _Limits) -> None:
    if size > limits.max_bytes:
        detail = f"more than downloads.maxBytes ({limits.max_bytes})"
        raise RemoteFailed(Cause.TOO_LARGE, "body", detail)


async def _checked(body: AsyncIterator[bytes], limits: _Limits) -> AsyncIterator[bytes]:
    """The bytes while they are few enough; failures by their cause (R16)."""
    received = 0
    try:
        async for piece in body:
            received += len(piece)
            _check_size(received, limits)
            yield piece
    except MultipartError as error:
        raise RemoteFailed(Cause.BROKEN, "multipart", str(error)) from error
    except FetchFailed as failure:
        raise from_fetch(failure) from failure
