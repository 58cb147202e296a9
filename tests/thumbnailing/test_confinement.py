"""What a decoder that was taken over can still do (R35)."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmr.thumbnailing.model import RenderOptions
from mmr.thumbnailing.process import WORKER_COMMAND
from mmr.thumbnailing.protocol import Job
from mmr.util.confined.limits import WorkerLimits
from mmr.util.confined.process import WorkerProcess

HOSTILE_COMMAND = (sys.executable, "-m", "tests.thumbnailing.hostile_worker")
LIMITS = WorkerLimits()


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerProcess]:
    monkeypatch.setenv("MMR_TEST_SECRET", "hunter2")
    worker = WorkerProcess(HOSTILE_COMMAND, LIMITS, tmp_path)
    yield worker
    worker.close()


def ask(worker: WorkerProcess, what: str) -> Any:
    job = Job("image/png", (), RenderOptions())
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(f"!probe {what}".encode())
        source.seek(0)
        worker.channel.limit(20)
        worker.channel.send(job.encode(), (source.fileno(), output.fileno()))
        assert worker.channel.receive() is not None
        return json.loads(os.pread(output.fileno(), 100_000, 0))


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        )
    except (FileNotFoundError, ProcessLookupError):
        return False


def ends_soon(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_running(pid)


def needs(worker: WorkerProcess, word: str) -> None:
    if not any(word in line for line in worker.confinement):
        pytest.skip(f"the kernel doesn't offer it here: {word}")


def test_the_environment_holds_no_secret(worker: WorkerProcess) -> None:
    """R35."""
    environment = ask(worker, "environment")

    assert "hunter2" not in str(environment)
    for name in {*environment} - {"PATH", "LANG", "PYTHONPATH", "LC_CTYPE"}:
        assert name.startswith(("MALLOC_", "VIPS_"))


def test_limits_are_in_force(worker: WorkerProcess) -> None:
    """R35."""
    limits = ask(worker, "limits")

    assert limits["AS"] == LIMITS.address_space
    assert LIMITS.cpu_seconds <= limits["CPU"] <= LIMITS.cpu_seconds + 5
    assert limits["FSIZE"] == LIMITS.file_bytes
    assert limits["NOFILE"] == LIMITS.open_files
    assert limits["CORE"] == 0
    assert limits["nice"] >= 10
    assert limits["leader"] == 1


def test_it_gives_way_to_the_server(worker: WorkerProcess) -> None:
    """Issue 4: warm downloads don't wait for decoders."""
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) == 10
    needs(worker, "as a session")
    # It is alone in its session, whose niceness is what counts where there is one.
    session = Path(f"/proc/{worker.pid}/autogroup")
    assert session.read_text().split()[-1] == "5"


def test_who_wakes_up_needs_not_wait_for_it(worker: WorkerProcess) -> None:
    """Issue 4: it runs seldom and long, where the kernel lets it (Linux 6.12)."""
    path = Path(f"/proc/{worker.pid}/sched")
    lines = path.read_text().splitlines() if path.exists() else []
    slices = [line.split()[-1] for line in lines if line.startswith("se.slice")]
    if not slices:
        pytest.skip("this kernel doesn't tell")
    needs(worker, "long time slices")

    assert slices == ["100000000"]


def test_a_large_file_can_not_be_written(worker: WorkerProcess) -> None:
    """R35: 100 MB."""
    assert ask(worker, "write") == "refused: File too large"


def test_only_its_own_files_are_open(worker: WorkerProcess) -> None:
    """R35."""
    standard, channel, job = 3, 1, 2

    assert len(ask(worker, "descriptors")) == standard + channel + job


def test_it_starts_in_an_empty_folder(worker: WorkerProcess) -> None:
    """R35."""
    assert ask(worker, "folder") == "done: []"


@pytest.mark.parametrize("what", ["read", "list", "write-out"])
def test_other_files_are_out_of_reach(worker: WorkerProcess, what: str) -> None:
    """R35."""
    needs(worker, "Landlock")

    assert ask(worker, what) == "refused: Permission denied"


def test_no_connection_can_be_made(worker: WorkerProcess, tmp_path: Path) -> None:
    """R35."""
    if not any("network" in line or "socket" in line for line in worker.confinement):
        pytest.skip("the kernel offers neither namespaces nor seccomp here")
    (folder,) = tmp_path.glob("mmr-worker-*")
    with socket.create_server(("127.0.0.1", 0)) as server:
        (folder / "port").write_text(str(server.getsockname()[1]))

        assert ask(worker, "connect").startswith("refused:")


def test_privileges_are_gone_even_for_root(worker: WorkerProcess) -> None:
    """R35."""
    needs(worker, "capabilities")

    assert ask(worker, "privileges").startswith("refused:")


def test_it_can_not_leave_its_group(worker: WorkerProcess) -> None:
    """R35: the group is what is killed at the wall limit."""
    needs(worker, "seccomp")

    assert ask(worker, "new-session") == "refused: Operation not permitted"


def test_its_children_die_with_it(worker: WorkerProcess) -> None:
    """R35: also those that try to leave the group."""
    needs(worker, "seccomp")
    child = ask(worker, "fork")
    assert is_running(child)

    worker.close()

    assert ends_soon(child)


def test_it_does_not_outlive_its_parent(tmp_path: Path) -> None:
    """R35."""
    program = f"""
import os, signal, sys
from pathlib import Path
from mmr.thumbnailing.process import WORKER_COMMAND
from mmr.util.confined.limits import WorkerLimits
from mmr.util.confined.process import WorkerProcess
worker = WorkerProcess(WORKER_COMMAND, WorkerLimits(), Path({str(tmp_path)!r}))
print(worker.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    parent = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert parent.returncode == -signal.SIGKILL
    assert ends_soon(int(parent.stdout))


def test_it_clears_up_behind_itself(tmp_path: Path) -> None:
    worker = WorkerProcess(WORKER_COMMAND, LIMITS, tmp_path)
    worker.close()

    assert not list(tmp_path.iterdir())
    assert not is_running(worker.pid)


def test_nothing_stays_when_no_process_can_be_had(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        WorkerProcess(["/nonexistent"], LIMITS, tmp_path)

    assert not list(tmp_path.iterdir())


def test_what_is_active_is_told(worker: WorkerProcess) -> None:
    """R35: the start says so."""
    assert "memory 1024 MiB" in worker.confinement
    assert "nice 10" in worker.confinement
    assert len(worker.confinement) == len(set(worker.confinement))


def test_hard_limits_that_are_lower_already_stay(tmp_path: Path) -> None:
    """A service manager may be stricter than we are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = WorkerLimits(open_files=hard + 1)

    WorkerProcess(WORKER_COMMAND, limits, tmp_path).close()
