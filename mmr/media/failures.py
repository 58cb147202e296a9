"""Remote fetches that failed lately are not tried again at once (D61)."""

from __future__ import annotations

from collections import OrderedDict

import attrs

from mmr.config.downloads import DownloadsConfig
from mmr.errors import MatrixError
from mmr.types import Mxc
from mmr.util.clock import Clock

_MAX_FAILURES = 10_000
# What passes by itself is tried again soon, whatever the operator's setting.
_SHORT_S = 60.0
# A name that doesn't exist today rarely exists tomorrow.
_LONG_FACTOR = 4


@attrs.frozen(slots=True)
class _Failure:
    until: float
    error: MatrixError


class RemoteFailures:
    """Remembers failures by their cause.

    Not there: ``downloads.failureCacheMinutes``. A server in trouble: a minute. No
    such server: four times the setting.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[Mxc, _Failure] = OrderedDict()

    def check(self, mxc: Mxc) -> None:
        """Fail as the last time, if that was not long ago.

        Raises:
            MatrixError: the same.
        """
        failure = self._failures.get(mxc)
        if failure is None:
            return
        if failure.until > self._clock.monotonic():
            # Its traceback would grow with each time.
            raise failure.error.with_traceback(None)
        del self._failures[mxc]

    def remember(
        self, mxc: Mxc, error: MatrixError, downloads: DownloadsConfig
    ) -> None:
        """Keep a failure. Our own faults (503) and media to come are not kept."""
        if error.status == 503 or error.errcode == "M_NOT_YET_UPLOADED":
            return
        seconds = self._seconds(error, downloads.failure_cache_minutes * 60)
        if seconds <= 0:
            return
        self._failures[mxc] = _Failure(self._clock.monotonic() + seconds, error)
        self._failures.move_to_end(mxc)
        if len(self._failures) > _MAX_FAILURES:
            self._failures.popitem(last=False)

    def _seconds(self, error: MatrixError, setting_s: float) -> float:
        if getattr(error, "is_unknown_server", False):
            return setting_s * _LONG_FACTOR
        if error.status == 404 or error.errcode == "M_TOO_LARGE":
            return setting_s
        return min(_SHORT_S, setting_s)
