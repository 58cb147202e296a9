"""Low priority: a worker must not keep the server from answering."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import sys
import time

_NICENESS = 10
_SESSION_NICENESS = 5
_ATTEMPTS = 5
_PAUSE_S = 0.1
_SLICE_NS = 100_000_000
_SET_ATTRIBUTES = {"x86_64": 314, "aarch64": 274}
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")


def yield_to_others() -> list[str]:
    """Give way to other processes; returns what works, in words for the log.

    A worker keeps a share of a busy processor: with next to none its jobs would run
    into their time limit there.
    """
    os.nice(_NICENESS)
    active = [f"nice {_NICENESS}"]
    if sys.platform != "linux":
        return active
    if _lengthen_slice():
        active.append("long time slices")
    if _lower_session():
        active.append(f"nice {_SESSION_NICENESS} as a session")
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
        active.append("first to go when memory runs out")
    return active


def _lengthen_slice() -> bool:
    """Ask to run seldom and long.

    Linux 6.12 and later let a process that wakes up, and runs in shorter slices, take
    the processor at once; else it may have to wait for the end of some milliseconds.
    """
    number = _SET_ATTRIBUTES.get(platform.machine())
    if number is None:
        return False
    size, policy, flags = _ATTRIBUTES.size, os.SCHED_OTHER, 0
    attributes = _ATTRIBUTES.pack(size, policy, flags, _NICENESS, 0, _SLICE_NS, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(number, 0, attributes, 0) == 0)


def _lower_session() -> bool:
    """The niceness of the session: where the kernel groups processes by session.

    There (sched(7), "autogroup") a session competes as a whole, and a worker has one of
    its own: the niceness of its process alone would count for nothing.
    """
    for _ in range(_ATTEMPTS):
        try:
            with open("/proc/self/autogroup", "w") as group:
                group.write(str(_SESSION_NICENESS))
        except BlockingIOError:
            # Only one process in a tenth of a second may do this.
            time.sleep(_PAUSE_S)
        except OSError:
            return False
        else:
            return True
    return False
