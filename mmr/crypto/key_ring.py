"""Knows the public keys of other servers, and asks for those it doesn't know."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Generic, TypeVar

import attrs

from twisted.internet.defer import CancelledError, Deferred

from mmr.crypto.key_document import BadKeyDocument, ServerKeys, read_key_document
from mmr.crypto.key_fetchers import KeyFetcher, KeysUnavailable
from mmr.crypto.keys import VerifyKey
from mmr.util.clock import Clock
from mmr.util.single_flight import SingleFlight

logger = logging.getLogger(__name__)

V = TypeVar("V")

_MAX_SERVERS = 10_000
_LONGEST_VALIDITY_MS = 7 * 24 * 3600 * 1000
# MMR's bound: what lives shorter would be asked for all the time.
_SHORTEST_VALIDITY_MS = 2 * 60 * 1000
_REFETCH_SECONDS = 300
_FETCH_SECONDS = 10
_FIRST_PAUSE_SECONDS = 10
_LONGEST_PAUSE_SECONDS = 600


@attrs.define
class _Known:
    """The keys of a server. Times are monotonic seconds.

    Attributes:
        fresh_until: When to ask again: half of the validity.
        dead_from: From when on the keys prove nothing, whether asking works or not.
        refetch_from: When an unknown key id may cause the next request.
    """

    keys: ServerKeys
    fresh_until: float
    dead_from: float
    refetch_from: float = 0


@attrs.frozen
class _Failure:
    """A server that gave no keys, and until when it is left alone."""

    pause: float
    until: float


class KeyRing:
    """The keys of other servers, in memory (R52-R54).

    There is no lock over all: a server that doesn't answer delays those requests only
    that say to come from it.

    Args:
        fetchers: Gives the sources, to be asked in this order; each has 10 seconds.
        clock: For validity and pauses.
        refused: Gives the public keys (base64 without padding) that are known to be in
            the wrong hands (R56).
    """

    def __init__(
        self,
        fetchers: Callable[[], Sequence[KeyFetcher]],
        clock: Clock,
        refused: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._fetchers = fetchers
        self._clock = clock
        self._refused = refused
        self._known: _Recent[_Known] = _Recent(_MAX_SERVERS)
        # Apart, so that strangers with made-up names push no keys out.
        self._failures: _Recent[_Failure] = _Recent(_MAX_SERVERS)
        self._fetches: SingleFlight[str, None] = SingleFlight()
        self._fetching: set[str] = set()

    def __len__(self) -> int:
        return len(self._known)

    def needs_fetch(self, server_name: str, key_id: str) -> bool:
        """Whether `verify_key` would ask a server that isn't being asked already."""
        if server_name in self._fetching:
            return False
        return self._may_fetch(server_name, key_id)

    async def verify_key(self, server_name: str, key_id: str) -> VerifyKey:
        """The server's key with that id, as the server publishes it now.

        Raises:
            KeysUnavailable: it has no such key, or can't be asked.
        """
        if self._may_fetch(server_name, key_id):
            await self._fetches.run(server_name, lambda: self._fetch(server_name))
            self._count_miss(server_name, key_id)
        key = self._usable(server_name, key_id)
        if key is None:
            raise KeysUnavailable(f"{server_name} is not known to have {key_id}")
        return key

    def _usable(self, server_name: str, key_id: str) -> VerifyKey | None:
        known = self._known.get(server_name)
        if known is None or known.dead_from <= self._clock.monotonic():
            return None
        key = known.keys.keys.get(key_id)
        # Asked again: the list may have grown since the keys came.
        return None if key is None or key.text in self._refused() else key

    def _may_fetch(self, server_name: str, key_id: str) -> bool:
        now = self._clock.monotonic()
        failure = self._failures.get(server_name)
        if failure is not None and now < failure.until:
            return False
        known = self._known.get(server_name)
        if known is None or known.fresh_until <= now:
            return True
        return key_id not in known.keys.keys and known.refetch_from <= now

    def _count_miss(self, server_name: str, key_id: str) -> None:
        """After a fetch that didn't bring the key, made-up ids are free (R53)."""
        known = self._known.get(server_name)
        if known is not None and key_id not in known.keys.keys:
            known.refetch_from = self._clock.monotonic() + _REFETCH_SECONDS

    async def _fetch(self, server_name: str) -> None:
        self._fetching.add(server_name)
        try:
            await self._ask(server_name)
        finally:
            self._fetching.discard(server_name)

    async def _ask(self, server_name: str) -> None:
        """Ask for the keys and remember what came of it."""
        reasons = []
        for fetcher in self._fetchers():
            try:
                document = await self._in_time(fetcher.fetch(server_name))
                keys = read_key_document(document, server_name, self._refused())
                self._remember(server_name, keys)
            except (KeysUnavailable, BadKeyDocument) as e:
                reasons.append(str(e))
            except Exception:
                # A stranger's answer must not become our error (R51).
                logger.exception("Asking for the keys of %s failed", server_name)
                reasons.append("unexpected error")
            else:
                return
        self._remember_failure(server_name, "; ".join(reasons))

    async def _in_time(self, work: Coroutine[Any, Any, V]) -> V:
        waiting = Deferred.fromCoroutine(work)
        timer = self._clock.call_later(_FETCH_SECONDS, waiting.cancel)
        try:
            return await waiting
        except CancelledError:
            raise KeysUnavailable(f"no answer in {_FETCH_SECONDS} s") from None
        finally:
            if timer.active():
                timer.cancel()

    def _remember(self, server_name: str, keys: ServerKeys) -> None:
        left_ms = keys.valid_until_ms - self._clock.time_ms()
        if left_ms < _SHORTEST_VALIDITY_MS:
            raise BadKeyDocument("its validity has ended or ends at once")
        left_s = min(left_ms, _LONGEST_VALIDITY_MS) / 1000
        now = self._clock.monotonic()
        known = self._known.get(server_name)
        refetch_from = known.refetch_from if known else 0
        self._known.put(
            server_name, _Known(keys, now + left_s / 2, now + left_s, refetch_from)
        )
        self._failures.drop(server_name)

    def _remember_failure(self, server_name: str, reason: str) -> None:
        last = self._failures.get(server_name)
        pause = _FIRST_PAUSE_SECONDS if last is None else last.pause * 2
        pause = min(pause, _LONGEST_PAUSE_SECONDS)
        until = self._clock.monotonic() + pause
        self._failures.put(server_name, _Failure(pause, until))
        logger.info("No keys of %s, next try in %d s: %s", server_name, pause, reason)


class _Recent(Generic[V]):
    """A bounded map: what wasn't used for longest gives way."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[str, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> V | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: str, value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, key: str) -> None:
        self._entries.pop(key, None)
