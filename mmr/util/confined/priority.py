"""Low priority: a worker must not keep the server from answering."""

from __future__ import annotations

import contextlib
import os
import sys
import time

_NICENESS = 10
_SESSION_NICENESS = 5
_ATTEMPTS = 5
_PAUSE_S = 0.1


def yield_to_others() -> list[str]:
    """Give way to other processes; returns what works, in words for the log.

    A worker keeps a share of a busy processor: with next to none its jobs would run
    into their time limit there.
    """
    os.nice(_NICENESS)
    active = [f"nice {_NICENESS}"]
    if sys.platform != "linux":
        return active
    if _lower_session():
        active.append(f"nice {_SESSION_NICENESS} as a session")
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
        active.append("first to go when memory runs out")
    return active


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
