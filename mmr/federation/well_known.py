"""Delegation by ``/.well-known/matrix/server`` (matrix-media-spec §10)."""

from __future__ import annotations

import email.utils
import json
import random
import re
from datetime import UTC

import attrs

from mmr.federation.expiring import Expiring
from mmr.federation.switches import Switches
from mmr.http.guard import FetchFailed, GuardedClient, GuardedResponse, Purpose, Step
from mmr.types import is_valid_server_name
from mmr.util.clock import Clock
from mmr.util.single_flight import SingleFlight

MAX_BYTES = 50 * 1024
_PURPOSE = Purpose("well-known", max_bytes=MAX_BYTES, total_seconds=30.0)
_MAX_ENTRIES = 10_000
_DEFAULT_S = 24 * 3600.0
_SHORTEST_S = 5 * 60.0
_LONGEST_S = 48 * 3600.0
_FIRST_FAILURE_S = 5 * 60.0
_LAST_FAILURE_S = 3600.0
# How long an expired delegation may still be used while its server is in trouble, and
# how soon it is asked again then.
_GRACE_S = 2 * 3600.0
_GRACE_RETRY_S = 2 * 60.0
_JITTER = 0.1
_MAX_AGE = re.compile(r'(?:^|,)\s*max-age\s*=\s*"?([0-9]{1,10})', re.IGNORECASE)
_NO_STORE = re.compile(r"(?:^|,)\s*no-(?:store|cache)\s*(?:,|$)", re.IGNORECASE)


@attrs.frozen
class WellKnown:
    """What a server says.

    Attributes:
        delegate: Its ``m.server``; None: it doesn't delegate.
        detail: For the federation test: where that comes from.
        failures: In a row; 0 for an answer.
        good_until: Monotonic time until which `delegate` may be used although the
            server is in trouble.
    """

    delegate: str | None
    detail: str
    failures: int = 0
    good_until: float = 0.0


class _NotDelegated(Exception):
    """The server answered, and doesn't delegate."""


class WellKnowns:
    """Asks servers for their delegation, and remembers it within the spec's bounds.

    Answers: as their cache headers say, 5 minutes to 48 hours, else 24 hours. Failures:
    5 minutes, doubled each time, up to an hour. A server in trouble keeps the
    delegation that it had for two more hours.

    Args:
        client: For the requests.
        clock: The time.
        switches: How.
        rng: Spreads the refetches.
    """

    def __init__(
        self,
        client: GuardedClient,
        clock: Clock,
        switches: Switches,
        rng: random.Random,
    ) -> None:
        self._client = client
        self._clock = clock
        self._switches = switches
        self._rng = rng
        self._cache: Expiring[str, WellKnown] = Expiring(clock, _MAX_ENTRIES)
        # What was known, for longer than it is taken as known.
        self._old: Expiring[str, WellKnown] = Expiring(clock, _MAX_ENTRIES)
        self._flights: SingleFlight[str, WellKnown] = SingleFlight(is_dropped=True)

    def __len__(self) -> int:
        return len(self._cache)

    async def get(self, host: str) -> WellKnown:
        """The delegation of a host name (without port); any failure is none.

        Raises:
            MatrixError: 503: too many requests run and wait (R20).
        """
        host = host.lower()
        known = self._cache.get(host)
        if known is not None:
            return known
        return await self._flights.run(host, lambda: self._ask(host))

    async def _ask(self, host: str) -> WellKnown:
        try:
            delegate, seconds = await self._fetch(host)
        except _NotDelegated as reason:
            return self._failed(host, str(reason), is_temporary=False)
        except FetchFailed as failure:
            return self._failed(host, str(failure), is_temporary=True)
        good_until = self._clock.monotonic() + seconds + _GRACE_S
        found = WellKnown(delegate, "answered", good_until=good_until)
        self._cache.put(host, found, seconds)
        self._old.put(host, found, seconds + _GRACE_S)
        return found

    async def _fetch(self, host: str) -> tuple[str, float]:
        scheme = self._switches.scheme
        response = await self._client.fetch(
            f"{scheme}://{host}/.well-known/matrix/server",
            _PURPOSE,
            schemes=(scheme,),
            verify=not self._switches.unsafe,
        )
        async with response:
            if response.status >= 500:
                raise FetchFailed(Step.STATUS, f"answered {response.status}")
            if response.status != 200:
                raise _NotDelegated(f"answered {response.status}")
            data = await response.read(MAX_BYTES)
            return _delegate(data), self._seconds(response)

    def _seconds(self, response: GuardedResponse) -> float:
        stated = _lifetime(response, self._clock.time_ms() / 1000)
        if stated is None:
            return self._jittered(_DEFAULT_S)
        return min(_LONGEST_S, max(_SHORTEST_S, stated))

    def _failed(self, host: str, detail: str, *, is_temporary: bool) -> WellKnown:
        old = self._old.get(host)
        if is_temporary and old is not None and self._is_still_good(old):
            kept = attrs.evolve(old, detail=f"kept, since now {detail}")
            self._cache.put(host, kept, self._jittered(_GRACE_RETRY_S))
            return kept
        failures = (old.failures if old is not None else 0) + 1
        seconds = min(_LAST_FAILURE_S, _FIRST_FAILURE_S * 2 ** min(failures - 1, 10))
        found = WellKnown(None, detail, failures)
        self._cache.put(host, found, self._jittered(seconds))
        self._old.put(host, found, _GRACE_S)
        return found

    def _is_still_good(self, old: WellKnown) -> bool:
        return old.delegate is not None and old.good_until > self._clock.monotonic()

    def _jittered(self, seconds: float) -> float:
        return seconds * self._rng.uniform(1 - _JITTER, 1)


def _delegate(data: bytes) -> str:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise _NotDelegated("not JSON") from None
    delegate = value.get("m.server") if isinstance(value, dict) else None
    if not isinstance(delegate, str) or not is_valid_server_name(delegate):
        raise _NotDelegated("no valid m.server")
    return delegate


def _lifetime(response: GuardedResponse, now: float) -> float | None:
    """Seconds that the headers give; None when they say nothing."""
    control = ",".join(response.headers.get("cache-control", ()))
    if _NO_STORE.search(control):
        return 0.0
    if match := _MAX_AGE.search(control):
        return float(match[1])
    expires = response.header("expires")
    if expires is None:
        return None
    try:
        date = email.utils.parsedate_to_datetime(expires)
    except (ValueError, OverflowError, TypeError):
        return 0.0
    # "-0000" is UTC as well, and here a date without any zone.
    return date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now
