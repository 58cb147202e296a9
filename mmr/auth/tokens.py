"""The memory of checked tokens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from mmr.auth.identity import BadToken, Identity, Verdict
from mmr.auth.secrets import digest
from mmr.util.clock import Clock
from mmr.util.single_flight import SingleFlight

V = TypeVar("V")

_MAX_USERS = 100_000
_MAX_REFUSED = 10_000
# However long a yes is kept, a homeserver that was confused for a moment must not lock
# its users out for hours.
_LONGEST_NO_SECONDS = 300


class TokenCache:
    """Remembers whose tokens are whose, and which are nobody's (R47).

    It holds definite answers only: the failure of a call is never kept (D48). Yes and
    no have separate bounds, so that strangers with made-up tokens push nobody out. The
    tokens themselves are not kept, only keyed digests (R42).

    Args:
        clock: For the expiry.
    """

    def __init__(self, clock: Clock) -> None:
        self._users: _Expiring[Identity] = _Expiring(clock, _MAX_USERS)
        self._refused: _Expiring[BadToken] = _Expiring(clock, _MAX_REFUSED)
        self._calls: SingleFlight[tuple[bytes, int], Verdict] = SingleFlight()
        self._generation = 0

    def __len__(self) -> int:
        return len(self._users) + len(self._refused)

    @staticmethod
    def key(host: str, token: str, asserted: str | None) -> bytes:
        """The key of a token at a host, used for an asserted user or for none."""
        return digest(host, token, asserted or "")

    def get(self, key: bytes) -> Verdict | None:
        """What is known about the token; None means: ask."""
        return self._users.get(key) or self._refused.get(key)

    async def ask(
        self,
        key: bytes,
        asserted: str | None,
        ttl_s: float,
        whoami: Callable[[], Awaitable[Verdict]],
    ) -> Verdict:
        """Ask the homeserver, once for all who ask at the same time.

        Args:
            key: From `key`.
            asserted: The asserted user of that key.
            ttl_s: Seconds to remember the answer; nothing is remembered from 0 down.
            whoami: The call.
        """

        async def ask() -> Verdict:
            verdict = await whoami()
            # An answer from before a logout may be the last word on a dead session.
            if generation == self._generation:
                self._keep(key, asserted, ttl_s, verdict)
            return verdict

        generation = self._generation
        return await self._calls.run((key, generation), ask)

    def drop_user(self, user_id: str) -> None:
        """Forget all tokens of a user."""
        self._generation += 1
        self._users.drop(lambda identity: identity.user_id == user_id)

    def clear(self) -> None:
        """Forget everything, as on a reload of the configuration."""
        self._generation += 1
        self._users.drop(lambda _: True)
        self._refused.drop(lambda _: True)

    def _keep(
        self, key: bytes, asserted: str | None, ttl_s: float, verdict: Verdict
    ) -> None:
        if isinstance(verdict, BadToken):
            self._refused.put(key, verdict, min(ttl_s, _LONGEST_NO_SECONDS))
        # An assertion that the homeserver ignored (R46) is not worth an entry: with
        # ever new ones, one user could fill the cache.
        elif asserted is None or asserted == verdict.user_id:
            self._users.put(key, verdict, ttl_s)


class _Expiring(Generic[V]):
    """A bounded map whose entries expire; the least recently used one gives way."""

    def __init__(self, clock: Clock, size: int) -> None:
        self._clock = clock
        self._size = size
        self._entries: OrderedDict[bytes, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, value = entry
        if expires <= self._clock.monotonic():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: bytes, value: V, ttl_s: float) -> None:
        if ttl_s <= 0:
            return
        self._entries[key] = (self._clock.monotonic() + ttl_s, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, condition: Callable[[V], bool]) -> None:
        doomed = [key for key, (_, value) in self._entries.items() if condition(value)]
        for key in doomed:
            del self._entries[key]
