"""Reading /proc: CPU and memory of a process and its children."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from benchmarks.processes import forget_peaks, usage

_MIB = 1024 * 1024
# A parent whose child holds memory and burns some CPU, then says so.
_PARENT = f"""
import subprocess, sys
child = "x = bytearray(64 * {_MIB}); sum(range(4_000_000)); "
child += "print('ready', flush=True); input()"
subprocess.run([sys.executable, "-c", child])
print("gone", flush=True)
input()
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_children_count_while_they_live_and_their_cpu_afterwards(
    parent: subprocess.Popen[str],
) -> None:
    assert parent.stdout is not None
    assert parent.stdin is not None
    assert parent.stdout.readline() == "ready\n"
    alive = usage(parent.pid)
    parent.stdin.write("\n")
    parent.stdin.flush()
    assert parent.stdout.readline() == "gone\n"
    ended = usage(parent.pid)

    assert alive.rss_mb > 64
    assert ended.rss_mb < alive.rss_mb - 50
    assert 0.01 <= alive.cpu_s <= ended.cpu_s + 0.01


def test_a_forgotten_peak_falls_back_to_what_is_in_use(
    parent: subprocess.Popen[str],
) -> None:
    assert parent.stdout is not None
    parent.stdout.readline()
    forget_peaks(parent.pid)
    now = usage(parent.pid)

    assert now.peak_mb < now.rss_mb * 1.2
