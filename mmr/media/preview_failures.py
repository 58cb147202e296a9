"""Previews that failed lately are not tried again at once (D46)."""

from __future__ import annotations

from collections import OrderedDict

from mmr.media.preview_fetch import Cause
from mmr.storage.previews import PreviewKey
from mmr.util.clock import Clock

_MAX_FAILURES = 10_000
_SECONDS = {Cause.LASTING: 3600.0, Cause.PASSING: 60.0}


class PreviewFailures:
    """Remembers failures by their cause: an hour, or a minute for what passes.

    In memory, so that nobody fills the database with addresses that don't exist.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, key: PreviewKey) -> bool:
        until = self._until.get(key.digest)
        if until is None:
            return False
        if until > self._clock.monotonic():
            return True
        del self._until[key.digest]
        return False

    def remember(self, key: PreviewKey, cause: Cause) -> None:
        """Keep a failure."""
        self._until[key.digest] = self._clock.monotonic() + _SECONDS[cause]
        self._until.move_to_end(key.digest)
        if len(self._until) > _MAX_FAILURES:
            self._until.popitem(last=False)

    def clear(self) -> None:
        """Forget them: the configuration has changed."""
        self._until.clear()
