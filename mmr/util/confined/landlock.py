"""Landlock: the process can open nothing but code and its own empty folder.

A worker that runs programs can also read the system's libraries.

Files that it is given open are not affected. The numbers are from the kernel's
``include/uapi/linux/landlock.h``; they are the same on every machine.
"""

from __future__ import annotations

import ctypes
import glob
import os
import stat
import struct
import sys
from collections.abc import Sequence

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION = 1
_RULE_PATH_BENEATH = 1

_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_READ = _READ_FILE | _READ_DIR
_WRITE_FILE = 1 << 1
_WRITE = _WRITE_FILE | 1 << 5 | 1 << 8  # write, remove and make regular files
_TRUNCATE = 1 << 14
_FILE_RIGHTS_BY_ABI = ((1, 13), (2, 14), (3, 15), (5, 16))
_ALL_TCP = 0b11
_ALL_SCOPES = 0b11

_LIBRARIES = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
)
_LOADERS = ("/lib*/ld-*.so*", "/lib/*/ld-*.so*")


def restrict(
    libc: ctypes.CDLL, programs: Sequence[str] = (), readable: Sequence[str] = ()
) -> bool:
    """Apply it to this process. False when the kernel doesn't offer it.

    Args:
        libc: The C library.
        programs: Files that may be executed.
        readable: Folders that these read, beside the system's libraries.
    """
    abi = libc.syscall(_CREATE_RULESET, None, 0, _GET_VERSION)
    if abi < 1:
        return False
    bits = max(count for since, count in _FILE_RIGHTS_BY_ABI if since <= abi)
    rights = (1 << bits) - 1
    attributes = struct.pack("Q", rights)
    if abi >= 4:
        attributes += struct.pack("Q", _ALL_TCP)
    if abi >= 6:
        attributes += struct.pack("Q", _ALL_SCOPES)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        for folder in _code_folders():
            _allow(libc, ruleset, folder, _READ)
        _allow(libc, ruleset, os.getcwd(), (_READ | _WRITE | _TRUNCATE) & rights)
        if programs:
            _allow_programs(libc, ruleset, programs, readable)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow_programs(
    libc: ctypes.CDLL, ruleset: int, programs: Sequence[str], readable: Sequence[str]
) -> None:
    # The kernel executes two files: the program, and the loader of its libraries.
    loaders = [path for pattern in _LOADERS for path in glob.glob(pattern)]
    for path in (*programs, *loaders):
        _allow(libc, ruleset, path, _EXECUTE | _READ_FILE)
    for path in (*_LIBRARIES, *readable):
        if os.path.exists(path):
            _allow(libc, ruleset, path, _READ)
    _allow(libc, ruleset, os.devnull, _READ_FILE | _WRITE_FILE)


def _code_folders() -> list[str]:
    """Where the libraries import parts of themselves from, when first needed."""
    names = ("os", "PIL", "lxml")
    modules = (sys.modules[name] for name in names if name in sys.modules)
    files = (module.__file__ for module in modules)
    return [os.path.dirname(file) for file in files if file]


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            rights &= ~_READ_DIR
        rule = struct.pack("=Qi", rights, beneath)
        libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(beneath)
