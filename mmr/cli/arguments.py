"""Command lines as matrix-media-repo's programs take them.

Flags have one dash or two, ``-name value`` or ``-name=value``. Help is ``-help``, and
``-h`` too where that isn't a flag of its own. As other programs do, ``--some-name``
means ``-someName``.
"""

from __future__ import annotations

import argparse
import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_TRUE = frozenset({"1", "t", "true", "yes", "on"})
_FALSE = frozenset({"0", "f", "false", "no", "off"})


class Arguments(argparse.ArgumentParser):
    """A parser for one program.

    Args:
        prog: Its name.
        description: What it does.
        examples: Command lines, shown below the flags.
    """

    def __init__(self, prog: str, description: str, examples: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
            allow_abbrev=False,
        )
        self._switches: set[str] = set()
        self.flag("help", "show this help and exit", action="help")

    def flag(self, name: str, help: str, **options: Any) -> None:
        """Add a flag, with one dash and with two."""
        self.add_argument(f"-{name}", f"--{name}", help=help, **options)

    def paths(self, name: str, help: str) -> None:
        """Add a flag for a file or folder that may be given several times."""
        help = f"{help}, may be repeated"
        self.flag(name, help, type=Path, action="append", default=[])

    def switch(self, name: str, help: str, **options: Any) -> None:
        """Add a flag that is on when it is there, or is ``=true`` or ``=false``."""
        self._switches |= {f"-{name}", f"--{name}"}
        self.flag(
            name,
            help,
            type=_truth,
            nargs="?",
            default=False,
            metavar="true|false",
            **options,
        )

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        """As the library does, but a switch never takes the word behind it."""
        given = map(self._spelled, sys.argv[1:] if args is None else args)
        words = [f"{arg}=true" if arg in self._switches else arg for arg in given]
        return super().parse_known_args(words, namespace)

    def _spelled(self, word: str) -> str:
        """A flag as it was added; other words as they are."""
        if word == "-h" and word not in self._option_string_actions:
            return "-help"
        name, equals, value = word.partition("=")
        camel = re.sub("-([a-z])", lambda match: match[1].upper(), name[2:])
        if name.startswith("--") and f"--{camel}" in self._option_string_actions:
            return f"--{camel}{equals}{value}"
        return word


def _truth(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, found {text!r}")
