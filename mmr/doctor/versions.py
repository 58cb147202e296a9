"""Libraries and programs against the oldest versions without a known flaw (R108)."""

from __future__ import annotations

import re
import subprocess
from importlib import metadata

from mmr.doctor.finding import Finding, good, warning
from mmr.thumbnailing.programs import FAMILIES, find_programs

_SUBJECT = "libraries"
_FLOOR = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?[^;]*>=([0-9.]+)")
_PROGRAMS = {"ffmpeg": (8, 1, 3), "rsvg-convert": (2, 60, 3)}
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)+")

Version = tuple[int, ...]


def check_versions() -> list[Finding]:
    """What is in use, and what of it is old. Blocks: it asks programs."""
    seen, findings = [], []
    for name, floor in _floors().items():
        installed = metadata.version(name)
        seen.append(f"{name} {installed}")
        if _parsed(installed) < floor:
            text = f"{name} {installed} is older than {_written(floor)}"
            fix = f"pip install --upgrade {name}"
            findings.append(warning(_SUBJECT, text, fix))
    for name, path in _programs().items():
        installed = _version_of(path)
        seen.append(f"{name} {installed}")
        least = _PROGRAMS.get(name, ())
        if _parsed(installed) < least:
            text = f"{name} {installed} is older than {_written(least)}"
            fix = (
                "Keep it up to date: apt-get upgrade. Distributions mend old versions; "
                "it runs confined, for the flaws that nobody knows yet"
            )
            findings.append(warning(_SUBJECT, text, fix))
    return [good(_SUBJECT, ", ".join(seen)), *findings]


def _floors() -> dict[str, Version]:
    """The packages that mmr needs, with the oldest version that it takes."""
    found = {}
    for requirement in metadata.requires("mmr") or []:
        match = _FLOOR.match(requirement)
        if match is not None and "extra ==" not in requirement:
            found[match[1]] = _parsed(match[2])
    return found


def _programs() -> dict[str, str]:
    paths: dict[str, str] = {}
    for family in FAMILIES:
        paths |= find_programs(family)
    return paths


def _version_of(path: str) -> str:
    for flag in ("-version", "--version", "-v"):
        done = subprocess.run(
            [path, flag], capture_output=True, text=True, timeout=10, check=False
        )
        match = _VERSION.search(done.stdout or done.stderr)
        if match is not None:
            return match[0]
    return "0"


def _parsed(version: str) -> Version:
    match = _VERSION.search(version)
    return tuple(int(part) for part in (match[0] if match else "0").split("."))


def _written(version: Version) -> str:
    return ".".join(map(str, version))
