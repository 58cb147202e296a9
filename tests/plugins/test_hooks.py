"""Each kind of hook, its failures and its limits (D53, R86)."""

from __future__ import annotations

import enum
import hashlib
import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from mmr.errors import ConfigError, MatrixError
from mmr.plugins import CheckFailed, FileInfo, FileToCheck
from mmr.plugins.base import Plugin
from mmr.plugins.clamav import ClamAv
from mmr.plugins.hooks import Hook, Hooks
from mmr.plugins.module import FileWrapper, ModulePlugin, is_spam
from mmr.plugins.program import ProgramPlugin
from mmr.util.clock import Clock

from tests.plugins.programs import program

P = ParamSpec("P")
R = TypeVar("R")


class Foreground:
    async def run(
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return function(*args, **kwargs)


class HookCase(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=os.getcwd()))
        self.clock = Clock(reactor)

    def file(self, data: bytes = b"some bytes", **info: Any) -> FileToCheck:
        path = self.folder / hashlib.sha256(data).hexdigest()
        path.write_bytes(data)
        values: dict[str, Any] = {
            "server_name": None,
            "file_id": "abc",
            "origin": "media.example",
            "user_id": "@alice:media.example",
            "content_type": "text/plain",
            "upload_name": "a.txt",
            **info,
        }
        return FileToCheck(
            path=path,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            info=FileInfo(**values),
        )

    def hooks(self, *plugins: Plugin, refuse: bool = True, seconds: float = 5) -> Hooks:
        hooks = Hooks(
            [Hook(plugin, refuse, seconds) for plugin in plugins], self.clock, reactor
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(hooks.stop()))
        return hooks

    async def status(self, hooks: Hooks, file: FileToCheck) -> int:
        try:
            await hooks.check(file)
        except MatrixError as error:
            return error.status
        return 200


class Scripted:
    """A plugin that does what the test says."""

    name = "scripted"

    def __init__(self, result: bool | Exception = False) -> None:
        self.result = result
        self.asked = 0
        self.is_stopped = False

    def context(self, info: FileInfo) -> str:
        return info.user_id

    async def check(self, file: FileToCheck) -> bool:
        self.asked += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    async def stop(self) -> None:
        self.is_stopped = True


class Hanging(Scripted):
    async def check(self, file: FileToCheck) -> bool:
        self.asked += 1
        await Deferred()
        return False


class HooksTests(HookCase):
    async def test_the_first_that_refuses_ends_it(self) -> None:
        good, bad, never = Scripted(), Scripted(True), Scripted()
        status = await self.status(self.hooks(good, bad, never), self.file())
        self.assertEqual((status, good.asked, never.asked), (403, 1, 0))

    async def test_verdicts_are_kept_by_hash_and_what_else_counts(self) -> None:
        plugin = Scripted(True)
        hooks = self.hooks(plugin)
        for _ in range(3):
            self.assertEqual(await self.status(hooks, self.file()), 403)
        self.assertEqual(plugin.asked, 1)
        await self.status(hooks, self.file(b"other"))
        await self.status(hooks, self.file(user_id="@bob:media.example"))
        self.assertEqual(plugin.asked, 3)

    async def test_a_reload_forgets_verdicts_and_ends_the_old(self) -> None:
        old, new = Scripted(True), Scripted()
        hooks = self.hooks(old)
        self.assertEqual(await self.status(hooks, self.file()), 403)
        hooks.replace([Hook(new, True, 5)])
        self.assertTrue(old.is_stopped)
        self.assertEqual(await self.status(hooks, self.file()), 200)

    async def test_a_failure_refuses_or_passes_as_configured(self) -> None:
        """R86, D53."""
        for error in (CheckFailed("no"), RuntimeError("bug")):
            for refuse, status in ((True, 503), (False, 200)):
                plugin = Scripted(error)
                hooks = self.hooks(plugin, refuse=refuse)
                self.assertEqual(await self.status(hooks, self.file()), status)
                # A failure is no verdict.
                await self.status(hooks, self.file())
                self.assertEqual(plugin.asked, 2)

    async def test_one_that_hangs_is_given_up(self) -> None:
        hooks = self.hooks(Hanging(), seconds=0.1)
        self.assertEqual(await self.status(hooks, self.file()), 503)

    async def test_what_waits_is_bounded(self) -> None:
        hooks = self.hooks(Hanging(), seconds=1)
        asking = [
            Deferred.fromCoroutine(self.status(hooks, self.file(b"%d" % number)))
            for number in range(600)
        ]
        self.assertEqual(sum(each.called for each in asking), 600 - 16 - 500)
        for each in asking:
            each.cancel()
            each.addErrback(lambda failure: None)


class Checker:
    """Has Synapse's shape."""

    asked: list[FileInfo] = []

    @staticmethod
    def parse_config(config: dict[str, Any]) -> str:
        return str(config["word"])

    def __init__(self, word: str, api: Any) -> None:
        self.word = word.encode()
        self.api = api
        api.register_spam_checker_callbacks(
            check_media_file_for_spam=self.check, check_event_for_spam=None
        )

    async def check(self, wrapper: FileWrapper, info: FileInfo) -> Any:
        self.asked.append(info)
        pieces: list[bytes] = []
        await wrapper.write_chunks_to(pieces.append)
        if self.word in b"".join(pieces):
            return Codes.FORBIDDEN
        return self.api.NOT_SPAM


class Codes(enum.StrEnum):
    FORBIDDEN = "M_FORBIDDEN"


class Simple:
    """A method and no api."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    async def check_media_file_for_spam(self, wrapper: Any, info: Any) -> bool:
        return wrapper.sha256 == hashlib.sha256(b"spam").hexdigest()


class ModuleTests(HookCase):
    def module(self, name: str, config: dict[str, Any]) -> ModulePlugin:
        return ModulePlugin(f"{__name__}.{name}", config, Foreground())

    async def test_a_module_of_synapse_s_shape(self) -> None:
        plugin = self.module("Checker", {"word": "casino"})
        long = b"x" * 100_000
        self.assertFalse(await plugin.check(self.file(long)))
        self.assertTrue(await plugin.check(self.file(long + b"casino")))
        self.assertEqual(Checker.asked[-1].file_id, "abc")
        self.assertIsNone(Checker.asked[-1].server_name)

    async def test_a_class_with_just_the_method(self) -> None:
        plugin = self.module("Simple", {})
        self.assertTrue(await plugin.check(self.file(b"spam")))
        self.assertFalse(await plugin.check(self.file(b"ham")))

    def test_only_a_clear_no_is_a_no(self) -> None:
        class NotSpam(enum.Enum):
            NOT_SPAM = object()

        for answer in (False, "NOT_SPAM", NotSpam.NOT_SPAM):
            self.assertFalse(is_spam(answer), answer)
        for answer in (True, Codes.FORBIDDEN, (Codes.FORBIDDEN, {}), None, 0, "x"):
            self.assertTrue(is_spam(answer), answer)

    def test_mistakes_are_named(self) -> None:
        for path in ("nothing", "no.such.module", f"{__name__}.Nothing"):
            with self.assertRaises(ConfigError) as caught:
                ModulePlugin(path, {}, Foreground())
            self.assertIn(path.rpartition(".")[2], str(caught.exception))
        with self.assertRaises(ConfigError):
            self.module("Checker", {})


class ProgramTests(HookCase):
    def plugin(self, body: str, config: dict[str, Any] | None = None) -> ProgramPlugin:
        plugin = ProgramPlugin(
            str(program(self.folder, body)), config or {}, self.clock, reactor
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(plugin.stop()))
        return plugin

    async def test_it_gets_a_path_and_its_configuration(self) -> None:
        plugin = self.plugin(
            """
            def answer(question, config):
                data = open(question["path"], "rb").read()
                return {"spam": config["word"].encode() in data}
            """,
            {"word": "casino"},
        )
        self.assertTrue(await plugin.check(self.file(b"at the casino")))
        self.assertFalse(await plugin.check(self.file(b"at home")))

    async def test_one_child_answers_all_questions(self) -> None:
        plugin = self.plugin(
            """
            def answer(question, config):
                return {"spam": os.getpid() != config.setdefault("pid", os.getpid())}
            """
        )
        for _ in range(20):
            self.assertFalse(await plugin.check(self.file()))

    async def test_one_that_crashes_is_started_again(self) -> None:
        marker = self.folder / "crashed"
        plugin = self.plugin(
            f"""
            def answer(question, config):
                if not os.path.exists({str(marker)!r}):
                    open({str(marker)!r}, "w").close()
                    os._exit(3)
                return {{"spam": False}}
            """
        )
        with self.assertRaises(CheckFailed):
            await plugin.check(self.file())
        # Not at once: one that crashes at every start must not keep us busy.
        with self.assertRaises(CheckFailed):
            await plugin.check(self.file())
        plugin._not_before = 0
        self.assertFalse(await plugin.check(self.file()))

    async def test_one_that_hangs_is_killed(self) -> None:
        plugin = self.plugin(
            """
            def answer(question, config):
                time.sleep(1000)
            """
        )
        hooks = Hooks([Hook(plugin, True, 0.3)], self.clock, reactor)
        self.assertEqual(await self.status(hooks, self.file()), 503)

    async def test_nonsense_is_a_failure(self) -> None:
        for number, reply in enumerate(
            (
                'print("no json", flush=True)',
                'print("[]", flush=True)',
                'print(json.dumps({"id": 99}), flush=True)',
                'sys.stdout.write("x" * 1000000); sys.stdout.flush()',
                'return {"spam": "perhaps"}',
                'return {"error": "no signatures"}',
            )
        ):
            self.folder = Path(tempfile.mkdtemp(dir=os.getcwd()))
            plugin = self.plugin(
                f"""
                def answer(question, config):
                    {reply}
                """
            )
            with self.assertRaises(CheckFailed, msg=str(number)):
                await plugin.check(self.file())

    async def test_one_that_is_not_there(self) -> None:
        plugin = ProgramPlugin(str(self.folder / "nothing"), {}, self.clock, reactor)
        with self.assertRaises(CheckFailed):
            await plugin.check(self.file())

    async def test_our_environment_stays_ours(self) -> None:
        self.patch(os, "environ", {**os.environ, "MARKED_SECRET": "x"})
        plugin = self.plugin(
            """
            def answer(question, config):
                return {"spam": "MARKED_SECRET" in os.environ}
            """
        )
        self.assertFalse(await plugin.check(self.file()))


class Clamd(Protocol):
    """Speaks as much INSTREAM as the tests need."""

    factory: Any
    transport: Any

    def __init__(self) -> None:
        self.buffer = b""
        self.content = b""
        self.greeted = False

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        if not self.greeted and self.buffer.startswith(b"zINSTREAM\0"):
            self.buffer = self.buffer[10:]
            self.greeted = True
        while len(self.buffer) >= 4:
            (length,) = struct.unpack("!I", self.buffer[:4])
            if len(self.buffer) < 4 + length:
                return
            if length == 0:
                self.factory.answer(self)
                return
            self.content += self.buffer[4 : 4 + length]
            self.buffer = self.buffer[4 + length :]


class ClamAvTests(HookCase):
    async def clamav(self, answer: Callable[[Clamd], None]) -> ClamAv:
        factory: Any = Factory.forProtocol(Clamd)
        factory.answer = answer
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        address = f"127.0.0.1:{port.getHost().port}"
        return ClamAv({"address": address}, Foreground(), reactor)

    async def test_clamd_s_verdicts(self) -> None:
        def answer(clamd: Clamd) -> None:
            found = b"EICAR" in clamd.content
            reply = b"stream: Eicar-Signature FOUND\0" if found else b"stream: OK\0"
            clamd.transport.write(reply)
            clamd.transport.loseConnection()

        clamav = await self.clamav(answer)
        large = b"x" * 3_000_000
        self.assertFalse(await clamav.check(self.file(large)))
        self.assertTrue(await clamav.check(self.file(large + b"EICAR")))
        self.assertFalse(await clamav.check(self.file(b"")))

    async def test_errors_are_no_verdict(self) -> None:
        for reply in (b"INSTREAM size limit exceeded. ERROR\0", b"", b"x" * 9000):

            def answer(clamd: Clamd, reply: bytes = reply) -> None:
                clamd.transport.write(reply)
                clamd.transport.loseConnection()

            clamav = await self.clamav(answer)
            with self.assertRaises(CheckFailed):
                await clamav.check(self.file())

    async def test_a_clamd_that_is_silent_is_given_up(self) -> None:
        hooks = self.hooks(await self.clamav(lambda clamd: None), seconds=0.2)
        self.assertEqual(await self.status(hooks, self.file()), 503)

    async def test_no_clamd(self) -> None:
        clamav = ClamAv({"address": "127.0.0.1:1"}, Foreground(), reactor)
        with self.assertRaises(CheckFailed):
            await clamav.check(self.file())
        with self.assertRaises(ConfigError):
            ClamAv({}, Foreground(), reactor)
