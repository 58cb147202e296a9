"""How long a failed fetch is remembered, by its cause (D61)."""

from __future__ import annotations

from twisted.internet.task import Clock as FakeClock
from twisted.trial.unittest import SynchronousTestCase

from mmr.config.downloads import DownloadsConfig
from mmr.errors import MatrixError, not_found, unavailable
from mmr.federation.errors import Cause, RemoteAnswered, RemoteFailed
from mmr.media import failures
from mmr.media.failures import RemoteFailures
from mmr.types import Mxc
from mmr.util.clock import Clock

MXC = Mxc("remote.example", "abc")
_MINUTE = 60.0


class RemoteFailuresTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.time = FakeClock()
        self.failures = RemoteFailures(Clock(self.time))

    def lasts(self, error: MatrixError, minutes: int = 15) -> float:
        """For how many seconds it is remembered."""
        settings = DownloadsConfig(failure_cache_minutes=minutes)
        self.failures.remember(MXC, error, settings)
        passed = 0.0
        while self._is_remembered(error):
            self.time.advance(30)
            passed += 30
        return passed

    def _is_remembered(self, error: MatrixError) -> bool:
        try:
            self.failures.check(MXC)
        except MatrixError as found:
            self.assertIs(found, error)
            return True
        return False

    def test_what_is_not_there_is_remembered_as_long_as_configured(self) -> None:
        for error in (
            not_found(),
            RemoteAnswered(404, "M_NOT_FOUND"),
            RemoteFailed(Cause.TOO_LARGE, "body", "too long"),
        ):
            self.assertEqual(self.lasts(error), 15 * _MINUTE)
        self.assertEqual(self.lasts(not_found(), minutes=5), 5 * _MINUTE)

    def test_a_server_in_trouble_is_tried_again_soon(self) -> None:
        for error in (
            RemoteAnswered(500, None),
            RemoteAnswered(429, "M_LIMIT_EXCEEDED"),
            RemoteAnswered(403, "M_FORBIDDEN"),
            RemoteFailed(Cause.UNREACHABLE, "connect", "refused"),
            RemoteFailed(Cause.UNREACHABLE, "headers", "late", timed_out=True),
            RemoteFailed(Cause.UNREACHABLE, "dns", "no answer", timed_out=True),
            RemoteFailed(Cause.BROKEN, "multipart", "no boundary"),
        ):
            self.assertEqual(self.lasts(error), _MINUTE, error)

    def test_a_name_that_leads_nowhere_is_remembered_for_longer(self) -> None:
        error = RemoteFailed(Cause.UNREACHABLE, "dns", "unknown name")
        self.assertEqual(self.lasts(error), 60 * _MINUTE)

    def test_our_own_faults_and_media_to_come_are_not_remembered(self) -> None:
        for error in (unavailable("busy"), RemoteAnswered(504, "M_NOT_YET_UPLOADED")):
            self.assertEqual(self.lasts(error), 0)

    def test_nothing_is_remembered_when_that_is_turned_off(self) -> None:
        for error in (not_found(), RemoteAnswered(500, None)):
            self.assertEqual(self.lasts(error, minutes=0), 0)

    def test_the_memory_is_bounded(self) -> None:
        settings = DownloadsConfig()
        for number in range(failures._MAX_FAILURES + 100):
            mxc = Mxc("remote.example", f"id{number}")
            self.failures.remember(mxc, not_found(), settings)
        self.assertEqual(len(self.failures._failures), failures._MAX_FAILURES)
        self.failures.check(Mxc("remote.example", "id0"))
