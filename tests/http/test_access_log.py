"""The access log: Synapse's layout, one line a request, no secrets (R42, R73)."""

from __future__ import annotations

import json

from twisted.internet import task
from twisted.trial.unittest import SynchronousTestCase

from mmr.http.access_log import FLUSH_SECONDS, AccessLog
from mmr.http.head import parse_head
from mmr.http.limits import HttpLimits
from mmr.http.request import MediaRequest
from mmr.types import Requester
from mmr.util.clock import Clock

HEAD = b"GET %s HTTP/1.1\r\nHost: example.org\r\nUser-Agent: %s"


class AccessLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.time = task.Clock()
        self.written: list[str] = []

    def log(
        self, target: bytes, agent: bytes = b"Element/1.11", as_json: bool = False
    ) -> str:
        """The line that a request leaves."""
        access_log = AccessLog(self.written.append, "8000", Clock(self.time), as_json)
        access_log.log(self.request(target, agent))
        access_log.stop()
        return self.written.pop()

    def request(self, target: bytes, agent: bytes = b"Element/1.11") -> MediaRequest:
        head = parse_head(HEAD % (target, agent), HttpLimits())
        request = MediaRequest(FakeChannel(), head, 0.0)  # type: ignore[arg-type]
        request.requester = Requester(user_id="@ann:example.org")
        request.client_address = "192.0.2.7"
        request.status = 200
        request.sent_bytes = 48211
        return request

    def test_the_layout_is_that_of_synapse(self) -> None:
        line = self.log(b"/_matrix/x?a=b")
        self.assertRegex(
            line,
            r"^1970-01-01 \d\d:\d\d:00,000 - mmr\.access\.http\.8000 - 0 - INFO - "
            r"GET-\d+ - 192\.0\.2\.7 - 8000 - \{@ann:example\.org\} "
            r"Processed request: 0\.000sec/0\.000sec ru=\(0\.000sec, 0\.000sec\) "
            r"db=\(0\.000sec/0\.000sec/0\) 48211B 200 "
            r'"GET /_matrix/x\?a=b HTTP/1\.1" "Element/1\.11" \[0 dbevts\]\n\Z',
        )

    def test_tokens_are_redacted(self) -> None:
        """R42."""
        for target in (
            b"/x?access_token=s3cret",
            b"/x?a=b&access_token=s3cret&c=d",
            b"/x?access%5Ftoken=s3cret",
            b"/x?%61ccess_token=s3cret",
            b"/x?ACCESS_TOKEN=s3cret",
        ):
            line = self.log(target)
            self.assertNotIn("s3cret", line)
            self.assertIn("redacted", line)

    def test_one_request_is_one_line(self) -> None:
        """R73."""
        for agent in (
            b"a\tb",
            b'" "forged',
            "\u2028\u0085\u202e".encode(),
            b"\xff\xfe",
            b"x" * 5000,
        ):
            line = self.log(b"/x", agent)
            self.assertEqual(len(line.splitlines()), 1)
            self.assertTrue(line[:-1].isprintable())
            self.assertLess(len(line), 2500)
            self.assertTrue(line.endswith(" [0 dbevts]\n"))
            self.assertEqual(line.count('"'), 4)

    def test_json_lines_stay_json(self) -> None:
        """R73."""
        event = json.loads(self.log(b'/x?"', b'\\"\t', as_json=True))
        self.assertEqual(event["logger"], "mmr.access.http.8000")
        self.assertRegex(event["request"], r"GET-\d+")

    def test_lines_wait_for_each_other_but_not_for_long(self) -> None:
        access_log = AccessLog(self.written.append, "8000", Clock(self.time))
        access_log.log(self.request(b"/1"))
        access_log.log(self.request(b"/2"))
        self.assertEqual(self.written, [])
        self.time.advance(FLUSH_SECONDS)
        self.assertEqual(len(self.written), 1)
        self.assertEqual(self.written[0].count("\n"), 2)
        for _ in range(500):
            access_log.log(self.request(b"/3"))
        self.assertEqual(len(self.written), 2)
        access_log.stop()
        self.assertEqual(self.time.getDelayedCalls(), [])


class FakeChannel:
    """A connection that nobody answers on."""

    peer = "192.0.2.7"
    peer_is_trusted = False
