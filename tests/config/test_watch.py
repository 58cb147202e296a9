"""Noticing changed files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeClock

from mmr.config.watch import ConfigWatcher, State, files_state
from mmr.util.clock import Clock

from tests.config.files import write

P = ParamSpec("P")
R = TypeVar("R")


class Foreground:
    """Runs jobs at once; fails them when told to."""

    def __init__(self) -> None:
        self.broken = False

    async def run(
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        if self.broken:
            raise RuntimeError("no thread is free")
        return function(*args, **kwargs)


class Watched:
    """A watcher on a fake clock that counts its calls."""

    def __init__(self, *paths: Path, known: State | None = None) -> None:
        self.calls = 0
        self.error: Exception | None = None
        self.time = FakeClock()
        self.runner = Foreground()
        self.watcher = ConfigWatcher(
            paths,
            Clock(self.time),
            self.runner,
            self.changed,
            known or files_state(paths),
        )
        self.watcher.start()

    async def changed(self) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error

    def wait(self, seconds: int) -> int:
        self.time.pump([0.5] * seconds * 2)
        return self.calls


def replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def test_nothing_happens_while_nothing_changes(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1")
    assert Watched(path).wait(10) == 0


def test_a_change_is_told_once(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1")
    watched = Watched(path)
    path.write_text("a: 22")
    assert watched.wait(10) == 1
    assert watched.wait(10) == 1


def test_a_change_during_the_start_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1")
    known = files_state([path])
    path.write_text("a: 22")
    assert Watched(path, known=known).wait(10) == 1


def test_a_file_replaced_by_renaming_is_noticed_again_and_again(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "a: 1")
    watched = Watched(path)
    for count in (1, 2, 3):
        replace(path, f"a: {count}")
        assert watched.wait(4) == count


def test_files_that_come_and_go_are_noticed(tmp_path: Path) -> None:
    write(tmp_path, "a: 1", "1.yaml")
    watched = Watched(tmp_path)
    added = write(tmp_path, "b: 1", "2.yaml")
    assert watched.wait(4) == 1
    added.unlink()
    assert watched.wait(4) == 2
    write(tmp_path, "b: 1", "ignored.txt")
    assert watched.wait(4) == 2


def test_a_file_that_vanishes_and_returns_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1")
    watched = Watched(path)
    path.unlink()
    assert watched.wait(4) == 1
    write(tmp_path, "a: 2")
    assert watched.wait(4) == 2


def test_changes_have_to_settle(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1")
    watched = Watched(path)
    watched.time.advance(1.9)
    for length in range(2, 8):
        path.write_text("x" * length * 10)
        watched.time.advance(0.9)
        watched.time.advance(0.1)
    assert watched.calls == 0
    assert watched.wait(3) == 1


def test_watching_goes_on_after_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, "a: 1")
    watched = Watched(path)
    watched.error = ValueError("wrong")
    path.write_text("a: 22")
    assert watched.wait(4) == 1
    watched.runner.broken = True
    path.write_text("a: 333")
    assert watched.wait(4) == 1
    watched.runner.broken = False
    assert watched.wait(4) == 2
    assert "Could not apply" in caplog.text
    assert "Could not look" in caplog.text


def test_it_ends(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1")
    watched = Watched(path)
    watched.watcher.stop()
    watched.watcher.stop()
    path.write_text("a: 22")
    assert watched.wait(10) == 0
    assert watched.time.getDelayedCalls() == []


def test_it_ends_while_a_thread_is_looking(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1")
    watched = Watched(path)
    pending: Deferred[None] = Deferred()

    async def hang(*_: object) -> None:
        await pending

    watched.runner.run = hang  # type: ignore[assignment]
    watched.wait(3)
    watched.watcher.stop()
    assert watched.time.getDelayedCalls() == []
