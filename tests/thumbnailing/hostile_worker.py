"""A worker with a probe in place of the decoder; a source starting with "!" steers it.

Run as ``python -m tests.thumbnailing.hostile_worker``; everything else in it is the
real worker.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any, BinaryIO

import attrs
from PIL import Image

from mmr.thumbnailing.model import ImageInfo, Refusal
from mmr.thumbnailing.protocol import Job, Part, Reply
from mmr.thumbnailing.worker import handle, main

from tests.thumbnailing.images import RED, encoded


def misbehave(job: Job, source: BinaryIO, output: BinaryIO) -> Reply:
    """Do what the source says, or the honest work."""
    data = source.read()
    source.seek(0)
    if not data.startswith(b"!"):
        return handle(job, source, output)
    name, _, argument = data[1:].decode().partition(" ")
    if name in FAULTS:
        FAULTS[name]()
    elif name == "slow":
        time.sleep(float(argument))
    elif name == "probe":
        output.write(json.dumps(probe(*argument.split())).encode())
        return Reply(refusal=Refusal.BROKEN)
    elif name == "result":
        return _false_result(argument, output)
    return Reply(refusal=Refusal.BROKEN)


def _segfault() -> None:
    ctypes.string_at(0)


def _spin() -> None:
    while True:
        pass


def _allocate() -> None:
    hoard = []
    while True:
        hoard.append(bytearray(64 << 20))


def _exit() -> None:
    os._exit(3)


def _hang() -> None:
    time.sleep(1000)


def _babble() -> None:
    with socket.socket(fileno=os.dup(0)) as sock:
        sock.sendall(b"\x00\x00\x00\x05hello" * 3)


def _flood() -> None:
    with socket.socket(fileno=os.dup(0)) as sock:
        sock.sendall(b"\xff" * 10_000_000)


FAULTS: dict[str, Callable[[], None]] = {
    "segfault": _segfault,
    "spin": _spin,
    "allocate": _allocate,
    "exit": _exit,
    "hang": _hang,
    "babble": _babble,
    "flood": _flood,
}


def _false_result(kind: str, output: BinaryIO) -> Reply:
    """A reply about a red square of 50 by 50 that isn't there as told."""
    square = encoded(Image.new("RGB", (50, 50), RED), "PNG")
    part = Part("image/png", 50, 50, len(square))
    info = ImageInfo(50, 50, "image/png")
    if kind == "nothing":
        return Reply(info, (attrs.evolve(part, length=0),))
    if kind == "half":
        output.write(square[: len(square) // 2])
        return Reply(info, (part,))
    if kind == "wrong-size":
        output.write(square)
        return Reply(attrs.evolve(info, width=60), (part,))
    if kind == "lying-size":
        output.write(square)
        return Reply(attrs.evolve(info, width=60), (attrs.evolve(part, width=60),))
    if kind == "wrong-type":
        output.write(square)
        return Reply(info, (attrs.evolve(part, content_type="image/jpeg"),))
    if kind == "foreign-type":
        output.write(b"<svg>" + square)
        return Reply(info, (attrs.evolve(part, content_type="image/svg+xml"),))
    if kind == "too-many":
        output.write(square * 2)
        return Reply(info, (part, part))
    if kind == "endless":
        return Reply(info, (attrs.evolve(part, length=1 << 40),))
    if kind == "negative":
        return Reply(info, (attrs.evolve(part, length=-1),))
    output.write(square)
    return Reply(info, (part,))


def probe(what: str, name: str = "") -> Any:
    """Try what a decoder that was taken over would try; tell how far it got."""
    return {
        "environment": lambda: dict(os.environ),
        "read": lambda: _attempt(lambda: open("/etc/passwd").read()[:4]),
        "list": lambda: _attempt(lambda: os.listdir("/")),
        "folder": lambda: _attempt(lambda: os.listdir(".")),
        "write-out": lambda: _attempt(lambda: open("/tmp/mmr-escaped", "w").close()),
        "connect": lambda: _attempt(_connect),
        "write": lambda: _attempt(_write),
        "fork": lambda: _fork(),
        "execute": lambda: _attempt(lambda: _execute(name)),
        "descriptors": lambda: _descriptors(),
        "limits": lambda: _limits(),
        "new-session": lambda: _attempt(os.setsid),
        "privileges": lambda: _attempt(lambda: os.chown(".", 12345, 12345)),
    }[what]()


def _attempt(action: Callable[[], object]) -> str:
    try:
        return f"done: {action()}"
    except OSError as error:
        return f"refused: {error.strerror}"


def _connect() -> None:
    with socket.socket() as sock:
        sock.settimeout(2)
        sock.connect(("127.0.0.1", int(open("port").read())))


def _write() -> None:
    with open("large", "wb") as file:
        for _ in range(100):
            file.write(b"\x00" * (1 << 20))


def _execute(name: str) -> int:
    path = os.path.realpath(f"/usr/bin/{name}")
    return subprocess.run([path, "-version"], stdin=1, stdout=1, stderr=1).returncode


def _fork() -> int:
    child = os.fork()
    if not child:
        for escape in (os.setsid, lambda: os.setpgid(0, 0)):
            _attempt(escape)
        time.sleep(100)
        os._exit(0)
    return child


def _descriptors() -> list[int]:
    def is_open(number: int) -> bool:
        try:
            os.fstat(number)
        except OSError:
            return False
        return True

    return [number for number in range(32) if is_open(number)]


def _limits() -> dict[str, int]:
    names = ("AS", "CPU", "FSIZE", "NOFILE", "CORE")
    limits = {
        name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0]
        for name in names
    }
    return {**limits, "nice": os.nice(0), "leader": int(os.getpid() == os.getpgrp())}


if __name__ == "__main__":
    main(misbehave)
