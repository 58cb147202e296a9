"""Programs of others that a worker may run: ffmpeg and the like (R35 to R38).

The server finds them when it starts. Each family of media has workers of its own, which
can execute the programs of this family and nothing else.
"""

from __future__ import annotations

import errno
import functools
import math
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import attrs

from mmr.thumbnailing.model import Refusal, Refused
from mmr.util.confined.confinement import die_with_parent

JOB_SECONDS = 9.0
"""For all programs of one job together, on the wall: a file that makes them hang costs
less than ten seconds, however many of them look at it."""
_FILE_BYTES = 64 << 20
_SOURCE = "source"
_FONTS = (
    "/etc/fonts",
    "/usr/share/fontconfig",
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/var/cache/fontconfig",
)


@attrs.frozen
class Family:
    """Media that the same programs open.

    Attributes:
        name: As in log lines.
        programs: All of them must be there.
        readable: Folders that they need, beside the system's libraries.
    """

    name: str
    programs: tuple[str, ...]
    readable: tuple[str, ...] = ()


AUDIO_VIDEO = Family("audio and video", ("ffmpeg", "ffprobe"))
SVG = Family("SVG", ("rsvg-convert",), (*_FONTS, "/usr/share/mime"))
PDF = Family("PDF", ("pdftoppm", "pdfinfo"), (*_FONTS, "/usr/share/poppler"))
FAMILIES = (AUDIO_VIDEO, SVG, PDF)


def family_of(content_type: str) -> Family | None:
    """Whose programs draw this sniffed type; None when no program is needed."""
    if content_type == "image/svg+xml":
        return SVG
    if content_type == "application/pdf":
        return PDF
    kind = content_type.partition("/")[0]
    return AUDIO_VIDEO if kind in ("audio", "video") else None


@functools.cache
def find_programs(family: Family) -> Mapping[str, str]:
    """Absolute paths by name; empty when one of the family's programs is missing.

    Looked up once, so that nobody slips another program in later (R36).
    """
    found = {name: shutil.which(name) for name in family.programs}
    paths = {name: os.path.realpath(path) for name, path in found.items() if path}
    return paths if len(paths) == len(family.programs) else {}


def describe_programs(wanted: Iterable[str]) -> list[str]:
    """For the log of the start: what there is, and what is missing.

    Args:
        wanted: The types of ``thumbnails.types``.
    """
    wanted_families = {family_of(content_type) for content_type in wanted}
    lines = []
    for family in FAMILIES:
        found = find_programs(family)
        if found:
            lines.append(f"{family.name}: by {', '.join(found.values())}")
        elif family in wanted_families:
            names = " and ".join(family.programs)
            lines.append(f"{family.name}: none, as that needs {names}")
    return lines


_usable: dict[str, str] = {}
_job_ends_at = math.inf


def allow(programs: Mapping[str, str]) -> None:
    """In a worker: from now on `run` finds these, and no others."""
    _usable.clear()
    _usable.update(programs)


def begin_job() -> None:
    """In a worker: from now on the programs have `JOB_SECONDS` together."""
    global _job_ends_at
    _job_ends_at = time.monotonic() + JOB_SECONDS


@contextmanager
def source_file(data: bytes) -> Iterator[str]:
    """The source under a name of ours in the working directory (R36)."""
    path = Path(_SOURCE)
    try:
        path.write_bytes(data)
        yield _SOURCE
    finally:
        path.unlink(missing_ok=True)


def run(
    name: str,
    arguments: Sequence[str],
    *,
    seconds: float,
    source: BinaryIO | None = None,
) -> bytes:
    """What a program prints.

    Args:
        name: Of the program.
        arguments: Go to it as they are; no shell reads them.
        seconds: Time on the wall, if the job has so much left.
        source: Its standard input; nothing by default.

    Raises:
        Refused: when there is no such program, when it fails, or when it was killed
            for what it used.
        OSError: when the disk is full.
    """
    if name not in _usable:
        raise Refused(Refusal.UNSUPPORTED)
    with tempfile.TemporaryFile(dir=".") as printed:
        process = subprocess.Popen(
            [_usable[name], *arguments],
            stdin=source or subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            preexec_fn=_limit,
        )
        try:
            status = process.wait(min(seconds, _job_ends_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Refused(Refusal.CRASHED) from None
        finally:
            process.kill()
            process.wait()
        if status and not os.fstatvfs(printed.fileno()).f_bavail:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if status:
            raise Refused(Refusal.CRASHED if status < 0 else Refusal.BROKEN)
        printed.seek(0)
        return printed.read()


def _limit() -> None:
    """Between fork and exec; memory and the rest are as in the worker."""
    die_with_parent()
    seconds = math.ceil(JOB_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
