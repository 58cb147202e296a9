"""Children of the bench: start, watch through /proc, stop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.errors import BenchError

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_STOP_TIMEOUT_S = 20

# The server has one core and the load another, so that they don't slow each other.
_cores = sorted(os.sched_getaffinity(0))
SERVER_CORES = {_cores[0]}
LOAD_CORES = {_cores[-1]}


@attrs.frozen
class Usage:
    """What a process and all its descendants use at one moment."""

    cpu_s: float
    rss_mb: float
    peak_mb: float


def free_port() -> int:
    """Give a loopback port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A server process on its own core, with its output in a file."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = folder / "output.log"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                list(command),
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid
        os.sched_setaffinity(self.pid, SERVER_CORES)

    def ensure_alive(self) -> None:
        """Raise with the end of its output when the process has ended."""
        if self._process.poll() is None:
            return
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])
        raise BenchError(
            f"{self._process.args!r} ended with {self._process.returncode}:\n{tail}"
        )

    def stop(self) -> None:
        """End the process, politely at first."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def usage(pid: int) -> Usage:
    """Add up CPU time and memory of the process and its living descendants.

    CPU includes descendants that have ended and were waited for.
    """
    cpu_s = rss_mb = peak_mb = 0.0
    for member in _tree(pid):
        try:
            cpu_s += _cpu_seconds(member)
            status = _status(member)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between the listing and the look
        rss_mb += status.get("VmRSS", 0.0)
        peak_mb += status.get("VmHWM", 0.0)
    return Usage(cpu_s, rss_mb, peak_mb)


def forget_peaks(pid: int) -> None:
    """Let the high-water marks of memory start again from now (proc(5), clear_refs)."""
    for member in _tree(pid):
        Path(f"/proc/{member}/clear_refs").write_text("5")


def busy_seconds() -> float:
    """CPU seconds that the whole machine has spent on work since it started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[:7])
    return (user + nice + system + irq + softirq) * _TICK_S


def own_seconds() -> float:
    """CPU seconds of the bench itself and the load generators that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _tree(pid: int) -> list[int]:
    members = [pid]
    for member in members:  # grows while it is walked
        for task in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                members += [int(child) for child in task.read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
    return members


def _cpu_seconds(pid: int) -> float:
    # The name in parentheses may hold blanks, so count from behind it (proc(5)).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) * _TICK_S


def _status(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) / 1024 for name, value in pairs}
