"""Programs of others: found, limited, killed, and confined with their worker."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmr.thumbnailing import desk as desk_module
from mmr.thumbnailing import programs
from mmr.thumbnailing.model import Refusal, Refused
from mmr.thumbnailing.programs import (
    AUDIO_VIDEO,
    FAMILIES,
    SVG,
    Family,
    describe_programs,
    find_programs,
    run,
    source_file,
)
from mmr.util.confined.limits import WorkerLimits
from mmr.util.confined.process import WorkerProcess

from tests.thumbnailing.media_files import BOX, desk, video, work
from tests.thumbnailing.test_confinement import (
    HOSTILE_COMMAND,
    ask,
    ends_soon,
    needs,
)


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program to be written by the test; it is known as "tool"."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tool"
    programs.allow({"tool": str(path)})
    return path


def write(script: Path, code: str) -> None:
    script.write_text(f"#!{sys.executable}\n{code}\n")
    script.chmod(0o755)


def test_a_program_gets_its_arguments_untouched(script: Path) -> None:
    """R36."""
    write(script, "import sys, json; print(json.dumps(sys.argv[1:]))")
    arguments = ["-f", "|id", "$(id)", ";", "a b", "*"]

    assert json.loads(run("tool", arguments, seconds=10)) == arguments


def test_a_program_has_neither_our_environment_nor_input(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R35, R37."""
    monkeypatch.setenv("MMR_TEST_SECRET", "hunter2")
    write(script, "import os, sys; print(os.environ, sys.stdin.read(), os.listdir())")
    printed = run("tool", [], seconds=10)

    assert b"hunter2" not in printed


def test_a_program_that_hangs_is_killed(script: Path) -> None:
    """R37."""
    write(
        script,
        "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(1000)",
    )
    started = time.monotonic()
    with pytest.raises(Refused) as caught:
        run("tool", [], seconds=2)

    assert caught.value.reason is Refusal.CRASHED
    assert time.monotonic() - started < 60
    pid = Path("pid")
    assert not pid.exists() or ends_soon(int(pid.read_text()))


def test_all_programs_of_a_job_share_its_time(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 4: a tool that hangs costs less than ten seconds, however often asked."""
    assert programs.JOB_SECONDS < 10
    write(script, "import time\ntime.sleep(1000)")
    monkeypatch.setattr(programs, "JOB_SECONDS", 0.5)
    monkeypatch.setattr(programs, "_job_ends_at", 0.0)
    programs.begin_job()
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(Refused) as caught:
            run("tool", [], seconds=30)
        assert caught.value.reason is Refusal.CRASHED

    assert time.monotonic() - started < 20


def test_a_program_that_fails_means_a_broken_source(script: Path) -> None:
    write(script, "raise SystemExit(3)")
    with pytest.raises(Refused) as caught:
        run("tool", [], seconds=10)

    assert caught.value.reason is Refusal.BROKEN


def test_a_program_can_not_fill_the_disk(script: Path) -> None:
    """R35."""
    write(
        script,
        "import signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "while True: sys.stdout.buffer.write(bytes(1 << 20))",
    )
    with pytest.raises(Refused) as caught:
        run("tool", [], seconds=20)

    assert caught.value.reason is Refusal.CRASHED


def test_only_what_was_found_at_start_is_run(script: Path) -> None:
    """R36."""
    write(script, "print('here')")
    programs.allow({})
    with pytest.raises(Refused) as caught:
        run("tool", [], seconds=10)

    assert caught.value.reason is Refusal.UNSUPPORTED


def test_the_source_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with source_file(b"data") as path:
        assert Path(path).read_bytes() == b"data"
    assert os.listdir(tmp_path) == []


def test_no_program_of_many_formats_is_ever_run() -> None:
    """R36: neither ImageMagick nor Ghostscript, nor anything like them."""
    assert {name for family in FAMILIES for name in family.programs} == {
        *("ffmpeg", "ffprobe", "rsvg-convert", "pdftoppm", "pdfinfo")
    }


def test_paths_are_absolute() -> None:
    """R36."""
    assert all(os.path.isabs(path) for path in find_programs(AUDIO_VIDEO).values())


def test_a_family_with_a_program_missing_has_none() -> None:
    assert find_programs(Family("test", ("sh", "no-such-program"))) == {}


def test_without_its_programs_a_type_is_not_supported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(desk_module, "find_programs", lambda family: {})
    with desk() as place, pytest.raises(Refused) as caught:
        work(place, video("mp4"), "video/mp4", BOX)

    assert caught.value.reason is Refusal.UNSUPPORTED


def test_the_start_tells_what_there_is_and_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {"rsvg-convert": "/usr/bin/rsvg-convert"}
    monkeypatch.setattr(
        programs, "find_programs", lambda family: found if family is SVG else {}
    )

    assert describe_programs(["video/mp4", "image/png"]) == [
        "audio and video: none, as that needs ffmpeg and ffprobe",
        "SVG: by /usr/bin/rsvg-convert",
    ]


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[WorkerProcess]:
    given = {"programs": dict(find_programs(AUDIO_VIDEO)), "readable": []}
    worker = WorkerProcess(
        HOSTILE_COMMAND, WorkerLimits(), tmp_path, [json.dumps(given)]
    )
    yield worker
    worker.close()


def test_a_worker_can_execute_its_own_programs_only(hostile: WorkerProcess) -> None:
    """R35."""
    needs(hostile, "Landlock")

    assert ask(hostile, "execute ffmpeg").startswith("done:")
    for other in ("sh", "python3", "rsvg-convert"):
        assert ask(hostile, f"execute {other}") == "refused: Permission denied"


def test_such_a_worker_reads_libraries_and_nothing_else(
    hostile: WorkerProcess,
) -> None:
    """R35."""
    needs(hostile, "Landlock")

    assert ask(hostile, "read") == "refused: Permission denied"
    assert ask(hostile, "list") == "refused: Permission denied"
    assert ask(hostile, "write-out") == "refused: Permission denied"


def test_a_worker_for_pictures_executes_nothing(tmp_path: Path) -> None:
    """R35."""
    worker = WorkerProcess(HOSTILE_COMMAND, WorkerLimits(), tmp_path)
    try:
        needs(worker, "Landlock")
        for program in ("ffmpeg", "sh"):
            answer = ask(worker, f"execute {program}")
            assert answer == "refused: Permission denied"
    finally:
        worker.close()


def test_every_family_is_installed_where_the_tests_run() -> None:
    assert all(find_programs(family) for family in FAMILIES)
