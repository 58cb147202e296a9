"""What ends up in the log, and what never does."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import attrs

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mmr.errors import ConfigError
from mmr.logging import (
    RequestInfo,
    background,
    current_request,
    enter_request,
    setup_logging,
    write_lines,
)

logger = logging.getLogger("mmr.test")


@attrs.frozen
class Settings:
    log_directory: str = "-"
    log_level: str = "info"
    log_colors: bool = False
    json_logs: bool = False
    log_config: Path | None = None


class LogCase(TestCase):
    """Logs into a string, and leaves the process's logging as it was."""

    def setUp(self) -> None:
        root = logging.getLogger()
        handlers, level = root.handlers, root.level
        factory = logging.getLogRecordFactory()
        talkative = logging.getLogger("botocore")
        talkative_level = talkative.level
        root.handlers = []

        def restore() -> None:
            for handler in root.handlers:
                handler.close()
            root.handlers = handlers
            root.setLevel(level)
            talkative.setLevel(talkative_level)
            logging.setLogRecordFactory(factory)

        self.addCleanup(restore)

    def start(self, **settings: Any) -> io.StringIO:
        out = io.StringIO()
        with mock.patch.object(sys, "stdout", out):
            setup_logging(Settings(**settings))
        return out


class ContextTests(LogCase):
    async def test_each_line_names_its_request(self) -> None:
        out = self.start()
        gate: Deferred[None] = Deferred()

        async def handle(number: int) -> None:
            enter_request(RequestInfo(f"GET-{number}", "a.example"))
            await gate
            logger.info("done %d", number)

        handled = [Deferred.fromCoroutine(handle(number)) for number in (1, 2)]
        logger.info("between")
        gate.callback(None)
        for each in handled:
            await each
        pairs = [line.split(" - ")[4:] for line in out.getvalue().splitlines()]
        self.assertEqual(
            pairs, [["sentinel", "between"], ["GET-1", "done 1"], ["GET-2", "done 2"]]
        )
        self.assertIsNone(current_request())

    async def test_background_work_has_a_name_and_a_number(self) -> None:
        out = self.start()
        for _ in range(2):
            with background("sweep"):
                logger.info("swept")
        names = re.findall(r"sweep-(\d+) - swept", out.getvalue())
        self.assertEqual(int(names[1]), int(names[0]) + 1)
        self.assertIsNone(current_request())


class TextTests(LogCase):
    def test_line_has_synapses_layout(self) -> None:
        out = self.start()
        logger.warning("hello %s", "there")
        pattern = (
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - mmr\.test - \d+ - WARNING"
            r" - sentinel - hello there\n"
        )
        self.assertRegex(out.getvalue(), re.compile(pattern + r"\Z"))

    def test_one_event_is_one_line(self) -> None:
        """R73: nothing that a stranger sends ends a line or moves the cursor."""
        out = self.start()
        hostile = "a\r\nb\x1b[2J\x00\x7f\x9b\u2028\u202ec\ud800"
        logger.info("name %s", hostile)
        logger.info(hostile)
        lines = out.getvalue().splitlines()
        self.assertEqual(len(lines), 2)
        self.assertTrue(all(line.isprintable() for line in lines))
        self.assertIn(r"a\r\nb\x1b[2J\x00\x7f\x9b\u2028\u202ec\ud800", lines[0])

    def test_long_fields_are_cut(self) -> None:
        """R73: at 1 KiB each."""
        out = self.start()
        logger.info("%s and %s", "x" * 5000, "end")
        logger.info("%(name)s", {"name": "y" * 5000})
        first, second = out.getvalue().splitlines()
        self.assertIn("x" * 1024 + "… and end", first)
        self.assertTrue(second.endswith("y" * 1024 + "…"))
        self.assertNotIn("y" * 1025, second)

    def test_traceback_cant_pose_as_an_event(self) -> None:
        """R73: its lines are indented, what they quote is escaped."""
        out = self.start()
        try:
            raise ValueError("oops\n2026-01-01 00:00:00,000 - forged \x1b[2J")
        except ValueError:
            logger.exception("It failed")
        first, *rest = out.getvalue().splitlines()
        self.assertTrue(first.endswith("It failed"))
        self.assertTrue(rest)
        self.assertTrue(all(line.startswith("    ") for line in rest))
        self.assertNotIn("\x1b", out.getvalue())

    def test_colors_are_for_stdout_only(self) -> None:
        folder = self.mktemp()
        out = self.start(log_colors=True, log_directory=folder)
        logger.error("red")
        self.assertIn("\x1b[31mERROR\x1b[0m", out.getvalue())
        self.assertNotIn("\x1b", (Path(folder) / "media_repo.log").read_text())


class SecretTests(LogCase):
    SECRETS = (
        "GET /x?access_token=MARKED HTTP/1.1",
        "GET /x?a=1&access_token=MARKED&b=2",
        "q=access_token%3DMARKED",
        "Authorization: Bearer MARKED",
        "authorization: bearer%20MARKED",
        '{"access_token": "MARKED", "a": 1}',
        "{'access_token': 'MARKED'}",
        'X-Matrix origin="a",key="ed25519:1",sig="MARKED"',
        "https://s3.example/b?X-Amz-Credential=MARKED%2Fx&X-Amz-Signature=MARKED",
        "GET /_matrix/media/unstable/admin/export/MARKED/part/1?x HTTP/1.1",
        "POST /_matrix/media/unstable/io.t2bot.media/admin/import/MARKED/close",
        "DELETE /_matrix/media/unstable/admin/export/MARKED",
    )

    def test_tokens_and_signatures_are_redacted(self) -> None:
        """R42, R106: in messages, in fields, in tracebacks; as text and as JSON."""
        for json_logs in (False, True):
            out = self.start(json_logs=json_logs)
            for secret in self.SECRETS:
                logger.info(secret)
                logger.info("%s", secret)
                try:
                    raise ValueError(secret)
                except ValueError:
                    logger.exception("failed")
            self.assertNotIn("MARKED", out.getvalue())
            self.assertGreaterEqual(out.getvalue().count("<redacted>"), 36)

    def test_what_is_beside_a_secret_stays(self) -> None:
        out = self.start()
        logger.info("GET /x?access_token=MARKED&width=96 HTTP/1.1, no big design")
        self.assertIn("access_token=<redacted>&width=96 HTTP/1.1", out.getvalue())


class JsonTests(LogCase):
    def test_line_is_one_object(self) -> None:
        """R73: whatever the message holds."""
        out = self.start(json_logs=True)
        logger.info('quote " and \n newline %s', "é")
        event = json.loads(out.getvalue())
        self.assertEqual(event["msg"], 'quote " and \\n newline é')
        self.assertEqual(event["level"], "info")
        self.assertEqual(event["logger"], "mmr.test")
        self.assertEqual(event["request"], "sentinel")

    def test_traceback_is_in_the_object(self) -> None:
        out = self.start(json_logs=True)
        try:
            raise ValueError("oops")
        except ValueError:
            logger.exception("It failed")
        self.assertEqual(len(out.getvalue().splitlines()), 1)
        self.assertIn("ValueError: oops", json.loads(out.getvalue())["exception"])


class _Full(io.StringIO):
    """A disk without room."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Captured(io.StringIO):
    """Standard error as twistd has it: what is written there is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = 0

    def write(self, text: str) -> int:
        self.lines += 1
        logger.error("%s", text)
        return len(text)


class LostLineTests(LogCase):
    def setUp(self) -> None:
        super().setUp()
        self.error = _Captured()
        self.patch(sys, "stderr", self.error)

    def test_a_line_that_can_not_be_written_is_lost_and_nothing_else(self) -> None:
        """R97: to tell of it would be another one, and so on."""
        with mock.patch.object(sys, "stdout", _Full()):
            setup_logging(Settings())
        logger.info("nobody will ever read this")
        write_lines("nor this\n")
        self.assertEqual(self.error.lines, 0)

    def test_our_own_mistakes_are_told_all_the_same(self) -> None:
        out = self.start()
        logger.info("%d", "no number")
        self.assertGreater(self.error.lines, 0)
        self.assertIn("TypeError", out.getvalue())


class SetupTests(LogCase):
    def test_mmrs_level_names(self) -> None:
        expected = {
            "panic": logging.CRITICAL,
            "fatal": logging.CRITICAL,
            "error": logging.ERROR,
            "warn": logging.WARNING,
            "info": logging.INFO,
            "debug": logging.DEBUG,
            "trace": 5,
        }
        for name, level in expected.items():
            self.start(log_level=name)
            self.assertEqual(logging.getLogger().level, level)

    def test_libraries_that_print_signatures_never_do_so(self) -> None:
        """R42: even at debug."""
        out = self.start(log_level="debug")
        logging.getLogger("botocore.auth").debug("StringToSign")
        logger.debug("ours")
        self.assertNotIn("StringToSign", out.getvalue())
        self.assertIn("ours", out.getvalue())

    def test_files_hold_the_same_lines_but_no_traces(self) -> None:
        folder = Path(self.mktemp()) / "deep"
        out = self.start(log_directory=str(folder), log_level="trace")
        logger.info("kept")
        logger.log(5, "fleeting")
        self.assertIn("TRACE - sentinel - fleeting", out.getvalue())
        text = (folder / "media_repo.log").read_text()
        self.assertIn("kept", text)
        self.assertNotIn("fleeting", text)

    def test_folder_that_cant_be_used_names_the_key(self) -> None:
        blocker = Path(self.mktemp())
        blocker.write_text("a file")
        with self.assertRaises(ConfigError) as caught:
            self.start(log_directory=str(blocker / "logs"))
        self.assertEqual(caught.exception.key, "repo.logDirectory")
