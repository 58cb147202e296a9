"""``rateLimit``: requests and bytes of each caller (mmr-http-api.md §1.2, §5.7)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mmr.config.rate_limit import RateLimitConfig
from mmr.errors import rate_limited
from mmr.http.addresses import address_group
from mmr.http.request import MediaRequest
from mmr.limits.buckets import LeakyBuckets, Shape
from mmr.util.clock import Clock

_UNLIMITED = 1e12


class CallerLimits:
    """Limits by user, else by server, else by address (R79). Paths don't matter.

    Args:
        config: ``rateLimit``.
        clock: For the draining.

    Attributes:
        buckets: By name, for `mmr.limits.shared`.
    """

    def __init__(self, config: RateLimitConfig, clock: Clock) -> None:
        self._requests = LeakyBuckets(_request_shape(config), clock)
        self._downloads = LeakyBuckets(_download_shape(config), clock)
        self.buckets: Mapping[str, LeakyBuckets] = {
            "requests": self._requests,
            "downloads": self._downloads,
        }
        self.update(config)

    def update(self, config: RateLimitConfig) -> None:
        """Take over a changed configuration; the levels stay."""
        self._is_enabled = config.enabled
        self._requests.shape = _request_shape(config)
        self._downloads.shape = _download_shape(config)
        rate = config.requests_per_second * config.paths_per_client
        self._headers = (
            (b"X-Rate-Limit-Limit", b"%.2f" % rate),
            (b"X-Rate-Limit-Duration", b"1"),
            (b"RateLimit-Limit", b"%d" % round(rate)),
            (b"RateLimit-Reset", b"1"),
        )

    def unproven(self, request: MediaRequest) -> None:
        """See `mmr.http.admission.Limits`."""
        subject = _address_subject(request)
        if self._is_enabled and subject is not None:
            self._charge(request, subject)
            request.charged_address = subject

    def proven(self, request: MediaRequest) -> None:
        """See `mmr.http.admission.Limits`."""
        if request.charged_address is not None:
            if not request.requester.is_authenticated:
                return
            self._requests.add(request.charged_address, -1)
            request.charged_address = None
        subject = subject_of(request)
        if self._is_enabled and subject is not None:
            self._charge(request, subject)

    def reserve(self, request: MediaRequest, size_bytes: int) -> None:
        """See `mmr.http.admission.Limits`."""
        subject = subject_of(request)
        if not self._is_enabled or subject is None:
            return
        _check(self._downloads, subject, size_bytes)
        self._downloads.add(subject, size_bytes)
        request.reservation = subject, size_bytes

    def over(self, request: MediaRequest) -> None:
        """See `mmr.http.admission.Limits`."""
        if request.reservation is not None:
            subject, size_bytes = request.reservation
            request.reservation = None
            if request.sent_bytes != size_bytes:
                self._downloads.add(subject, request.sent_bytes - size_bytes)

    def _charge(self, request: MediaRequest, subject: str) -> None:
        shape = self._requests.shape
        level = self._requests.level(subject)
        if level + 1 <= shape.capacity:
            level = self._requests.add(subject, 1)
            self._describe(request, shape.capacity - level)
            return
        self._describe(request, 0)
        _check(self._requests, subject, 1)

    def _describe(self, request: MediaRequest, remaining: float) -> None:
        # Once a request: the second charge is in place of the first.
        if not request.is_rate_described:
            request.is_rate_described = True
            for name, value in self._headers:
                request.add_header(name, value)
            request.add_header(
                b"RateLimit-Remaining", b"%d" % max(0, math.floor(remaining))
            )


def subject_of(request: MediaRequest) -> str | None:
    """Who is charged; None: nobody can be told apart (a unix socket)."""
    requester = request.requester
    if requester.user_id is not None:
        return f"user {requester.user_id}"
    if requester.server is not None:
        return f"server {requester.server.lower()}"
    return _address_subject(request)


def _address_subject(request: MediaRequest) -> str | None:
    address = request.client_address
    return f"address {address_group(address)}" if address else None


def _check(buckets: LeakyBuckets, subject: str, amount: float) -> None:
    wait_s = buckets.wait_s(subject, amount)
    if wait_s > 0:
        # One more, so that rounding doesn't make the client come a moment too soon.
        raise rate_limited(math.ceil(wait_s * 1000) + 1)


def _request_shape(config: RateLimitConfig) -> Shape:
    # No rate is no limit.
    rate = config.requests_per_second * config.paths_per_client or _UNLIMITED
    burst = max(1, config.burst * config.paths_per_client)
    return Shape(burst if rate < _UNLIMITED else rate, rate)


def _download_shape(config: RateLimitConfig) -> Shape:
    bucket = config.buckets.downloads
    return Shape(
        bucket.capacity_bytes,
        bucket.drain_bytes_per_minute / 60,
        bucket.overflow_limit_bytes,
    )
