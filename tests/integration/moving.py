"""Running the programs that move media, as an operator does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import attrs


@attrs.frozen
class Done:
    """What a program said."""

    status: int
    out: str
    log: str

    def count(self, word: str) -> int:
        """How many the summary counts under the word."""
        for line in self.log.splitlines():
            name, _, number = line.rpartition(": ")
            if name == word:
                return int(number)
        return 0


def command(program: str, *arguments: object) -> list[str]:
    """The words that start one of our programs."""
    return [sys.executable, "-m", f"mmr.cli.{program}", *map(str, arguments)]


def run(
    program: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> Done:
    """Run a program of `mmr.cli` to its end, without a terminal."""
    done = subprocess.run(
        command(program, *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return Done(done.returncode, done.stdout, done.stderr)
