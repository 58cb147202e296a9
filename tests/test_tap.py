"""``twistd mmr``: options, and a service that opens nothing before the reactor runs."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.trial.unittest import TestCase

import mmr
from mmr.config import load_config
from mmr.tap import MmrService, Options, makeService

GOOD: dict[str, Any] = {
    "repo": {"logDirectory": "-", "bindAddress": "127.0.0.1", "port": 1},
    "homeservers": [{"name": "media.example", "csApi": "http://127.0.0.1:9"}],
    "metrics": {"enabled": False},
    "datastores": [
        {"type": "file", "id": "x", "forKinds": ["all"], "opts": {"path": "/nowhere"}}
    ],
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPO_CONFIG", raising=False)
    monkeypatch.delenv("MACHINE_ID", raising=False)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "good.yaml", GOOD)


def write(path: Path, settings: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(settings))
    path.chmod(0o600)
    return path


def empty_folder(case: TestCase) -> Path:
    """A folder of the test's own."""
    folder = Path(case.mktemp()).absolute()
    folder.mkdir(parents=True)
    return folder


def parse(*arguments: str | Path) -> Options:
    options = Options()
    options.parseOptions([str(each) for each in arguments])
    return options


def test_a_good_configuration_is_read(good: Path) -> None:
    for flag in ("-c", "--config-path"):
        options = parse(flag, good)
        assert options.config is not None
        assert list(options.config.domains) == ["media.example"]
        assert options.machine_id == 0


def test_paths_are_made_absolute_before_twistd_changes_folder(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(good.parent)
    assert parse("-c", good.name).paths == [good]
    monkeypatch.setenv("REPO_CONFIG", good.name)
    assert parse().paths == [good]


def test_several_files_are_layered(good: Path, tmp_path: Path) -> None:
    more = write(tmp_path / "more.yaml", {"repo": {"port": 4321}})
    options = parse("-c", good, "-c", more)
    assert options.config is not None
    assert options.config.repo.port == 4321
    assert options.config.repo.bind_address == "127.0.0.1"


def test_the_assets_folder_is_absolute_before_twistd_leaves_its_own(good: Path) -> None:
    assert parse("-c", good).assets is None
    assert parse("-c", good, "--assets", "there").assets == Path("there").absolute()


def test_the_machine_id_comes_from_the_environment(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACHINE_ID", "7")
    assert parse("-c", good).machine_id == 7
    monkeypatch.setenv("MACHINE_ID", "many")
    with pytest.raises(SystemExit, match="MACHINE_ID"):
        parse("-c", good)


def test_a_weak_secret_for_profiles_ends_the_start(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R43."""
    for secret in ("ReplaceMe", "x" * 15):
        monkeypatch.setenv("MEDIA_PPROF_SECRET_KEY", secret)
        with pytest.raises(SystemExit, match=r"MEDIA_PPROF_SECRET_KEY: is a placeh"):
            parse("-c", good)
    for secret in ("", "x" * 16):
        monkeypatch.setenv("MEDIA_PPROF_SECRET_KEY", secret)
        assert parse("-c", good).config is not None


def test_a_mistake_ends_the_start_and_names_file_and_key(tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.yaml", {**GOOD, "uploads": {"maxBytes": "many"}})
    with pytest.raises(SystemExit) as caught:
        parse("-c", bad)
    for word in ("bad.yaml", "uploads.maxBytes", "many"):
        assert word in str(caught.value)
    with pytest.raises(SystemExit, match=r"none\.yaml"):
        parse("-c", tmp_path / "none.yaml")
    with pytest.raises(usage.UsageError):
        parse("--no-such-option")
    with pytest.raises(usage.UsageError, match="config-path"):
        parse("-c", "")


def test_an_unknown_key_is_a_warning_unless_strict(tmp_path: Path) -> None:
    path = write(tmp_path / "typo.yaml", {**GOOD, "uplaods": {}})
    options = parse("-c", path)
    assert options.config is not None
    assert "uplaods" in options.config.warnings[0]
    with pytest.raises(SystemExit, match="uplaods"):
        parse("--strict", "-c", path)


def test_a_configuration_can_be_generated_and_is_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--generate-config", "--server-name", "my.example")
    assert caught.value.code == 0
    path = tmp_path / "generated.yaml"
    path.write_text(capsys.readouterr().out)
    path.chmod(0o600)
    config = load_config([path], strict=True)
    assert list(config.domains) == ["my.example"]


def test_a_configuration_can_be_checked(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--check-config", "-c", good)
    assert caught.value.code == 0
    assert str(good) in capsys.readouterr().out
    typo = write(tmp_path / "typo.yaml", {**GOOD, "uplaods": {}})
    with pytest.raises(SystemExit):
        parse("--check-config", "-c", typo)
    assert "warning" in capsys.readouterr().out
    bad = write(tmp_path / "bad.yaml", {**GOOD, "uploads": {"maxBytes": "many"}})
    with pytest.raises(SystemExit, match="maxBytes"):
        parse("--check-config", "-c", bad)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"mmr {mmr.__version__}\n"


def test_making_the_service_opens_nothing(good: Path) -> None:
    """twistd may still fork: no thread, no file, no socket."""
    threads = threading.active_count()
    service = makeService(parse("-c", good))
    assert threading.active_count() == threads
    assert not list(good.parent.glob("*.db*"))
    assert not service.running
    with pytest.raises(usage.UsageError):
        makeService(Options())


def test_twisteds_own_log_goes_through_ours(good: Path) -> None:
    application = Application("mmr")
    makeService(parse("-c", good)).setServiceParent(application)  # type: ignore[arg-type]
    assert ILogObserver(application, None) is not None


class ServiceTest(TestCase):
    """The service on the real reactor."""

    timeout = 30

    async def setUp(self) -> None:
        self.folder = empty_folder(self)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        store = {**GOOD["datastores"][0], "opts": {"path": str(self.folder / "media")}}
        self.settings = {
            **GOOD,
            "repo": {**GOOD["repo"], "port": self.port},
            "datastores": [store],
        }
        self.path = write(self.folder / "mmr.yaml", self.settings)
        handler = signal.getsignal(signal.SIGHUP)
        self.addCleanup(lambda: signal.signal(signal.SIGHUP, handler))
        config = load_config([self.path])
        self.service = MmrService([self.path], config, 0, reactor)
        self.service.startService()
        self.addCleanup(self.service.stopService)
        await self.until(self.is_listening)

    async def until(self, condition: Any) -> None:
        for _ in range(2000):
            if condition():
                return
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]
        self.fail("it didn't happen")

    def is_listening(self) -> bool:
        return self.service._watcher is not None

    def max_bytes(self) -> int:
        assert self.service._server is not None
        return self.service._server.config.uploads.max_bytes

    async def test_it_listens_where_it_is_told(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5):
            pass

    async def test_a_changed_configuration_is_taken_over(self) -> None:
        write(self.path, {**self.settings, "uploads": {"maxBytes": 4321}})
        await Deferred.fromCoroutine(self.service._reload())
        self.assertEqual(self.max_bytes(), 4321)

    async def test_a_mistake_keeps_the_running_configuration(self) -> None:
        before = self.max_bytes()
        with self.assertLogs("mmr.tap", "ERROR") as logs:
            for settings in ({"uploads": {"maxBytes": "many"}}, {"datastores": []}):
                write(self.path, {**self.settings, **settings})
                await Deferred.fromCoroutine(self.service._reload())
        self.assertIn("uploads.maxBytes", logs.output[0])
        self.assertEqual(self.max_bytes(), before)

    async def test_what_needs_a_restart_is_named(self) -> None:
        repo = {**self.settings["repo"], "port": 2}
        write(self.path, {**self.settings, "repo": repo})
        with self.assertLogs("mmr.tap", "WARNING") as logs:
            await Deferred.fromCoroutine(self.service._reload())
        self.assertIn("repo.port", "".join(logs.output))

    async def test_sighup_reloads(self) -> None:
        # Which would notice the changed file by itself.
        assert self.service._watcher is not None
        self.service._watcher.stop()
        write(self.path, {**self.settings, "uploads": {"maxBytes": 999}})
        signal.raise_signal(signal.SIGHUP)
        await self.until(lambda: self.max_bytes() == 999)

    async def test_a_changed_file_is_taken_over_without_a_signal(self) -> None:
        write(self.path, {**self.settings, "uploads": {"maxBytes": 777}})
        await self.until(lambda: self.max_bytes() == 777)

    async def test_it_stops_listening(self) -> None:
        await self.service.stopService()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, handler)
