"""Taking rights away from a worker process, as far as the kernel offers (R35).

Decoders are written in C and overflow every year: assume that one is taken over.
Everything here is best effort and says what worked: a container's own rules may forbid
a part of it, and the rest still holds.
"""

from __future__ import annotations

import ctypes
import math
import resource
import sys
from collections.abc import Sequence

from mmr.util.confined import landlock, seccomp
from mmr.util.confined.limits import WorkerLimits
from mmr.util.confined.priority import yield_to_others

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522
_SIGKILL = 9


def confine(
    limits: WorkerLimits, programs: Sequence[str] = (), readable: Sequence[str] = ()
) -> list[str]:
    """Confine this process for good; returns what is active, in words for the log.

    The working directory stays readable and writable; so do files that are open.

    Args:
        limits: What it may use.
        programs: Paths of what it may execute.
        readable: Folders that these need beside the system's libraries.
    """
    active = [*_limit_resources(limits), *yield_to_others()]
    if sys.platform != "linux":
        return active
    libc = ctypes.CDLL(None, use_errno=True)
    steps = (
        ("dies with the server", _die_with_parent),
        ("no new privileges", _no_new_privileges),
        ("no network (namespace)", _leave_network),
        ("no capabilities", _drop_capabilities),
        (
            "no files (Landlock)",
            lambda libc: landlock.restrict(libc, programs, readable),
        ),
        ("no sockets, no escape from its group (seccomp)", seccomp.restrict),
    )
    # The order matters: namespaces before capabilities go, and the filter last,
    # because it forbids the calls before it.
    return active + [name for name, step in steps if step(libc)]


def _limit_resources(limits: WorkerLimits) -> list[str]:
    total_cpu = limits.cpu_seconds * limits.jobs
    wanted = (
        (resource.RLIMIT_AS, limits.address_space),
        (resource.RLIMIT_CPU, total_cpu),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, value in wanted:
        _, hard = resource.getrlimit(kind)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))
    return [
        f"memory {limits.address_space >> 20} MiB",
        f"CPU {limits.cpu_seconds} s a job",
        f"files {limits.file_bytes >> 20} MiB",
    ]


def renew_cpu_limit(seconds: int) -> None:
    """Before each job: the kernel counts over the life of the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = math.ceil(used.ru_utime + used.ru_stime)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = spent + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (min(soft, hard), hard))


def die_with_parent() -> None:
    """Between fork and exec: a program must not outlive the worker that runs it."""
    if sys.platform == "linux":
        _die_with_parent(ctypes.CDLL(None))


def _die_with_parent(libc: ctypes.CDLL) -> bool:
    return bool(libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0) == 0)


def _no_new_privileges(libc: ctypes.CDLL) -> bool:
    return bool(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)


def _leave_network(libc: ctypes.CDLL) -> bool:
    """An empty network; in a user namespace of its own, so that nobody need be root."""
    alone = _CLONE_NEWNET | _CLONE_NEWIPC
    flags = (_CLONE_NEWUSER | alone, alone)
    return any(libc.unshare(wanted) == 0 for wanted in flags)


def _drop_capabilities(libc: ctypes.CDLL) -> bool:
    """A new namespace gives them all, and root has them anyway."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    return bool(libc.capset(header, none) == 0)
