"""A filter of system calls: what no decoder needs and an intruder would want.

A short list of forbidden calls, not a list of allowed ones: the C library, Pillow and
later ffmpeg change what they call with every version. It keeps children in the process
group, which is killed whole, and closes the network where namespaces are forbidden.
"""

from __future__ import annotations

import ctypes
import platform
import struct

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2

# x86-64, arm64
_FORBIDDEN = {
    "socket": (41, 198),
    "connect": (42, 203),
    "socketpair": (53, 199),
    "ptrace": (101, 117),
    "setpgid": (109, 154),
    "setsid": (112, 157),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "mount": (165, 40),
    "umount2": (166, 39),
    "init_module": (175, 105),
    "kexec_load": (246, 104),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "perf_event_open": (298, 241),
    "open_by_handle_at": (304, 265),
    "setns": (308, 268),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "finit_module": (313, 273),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "pidfd_send_signal": (424, 424),
    "io_uring_setup": (425, 425),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
}
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
# Calls of the x32 interface have this bit set and would pass the comparison.
_X32_CALLS = 0x40000000

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4


def restrict(libc: ctypes.CDLL) -> bool:
    """Apply it to this process; needs "no new privileges". False when not offered."""
    column, architecture = _ARCHITECTURES.get(platform.machine(), (0, 0))
    if not architecture:
        return False
    program = _program(architecture, [pair[column] for pair in _FORBIDDEN.values()])
    code = ctypes.create_string_buffer(program, len(program))
    length = len(program) // 8
    header = struct.pack("HxxxxxxP", length, ctypes.addressof(code))
    return bool(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, header, 0, 0) == 0)


def _program(architecture: int, forbidden: list[int]) -> bytes:
    """The filter in the kernel's instructions: jumps count from the next one."""
    count = len(forbidden)
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_IF_AT_LEAST, count + 1, 0, _X32_CALLS),
        *(
            (_IF_EQUAL, count - index, 0, number)
            for index, number in enumerate(forbidden)
        ),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
