"""What the two programs for signing keys share: flags, reading, writing."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from mmr.cli.arguments import Arguments
from mmr.crypto.key_files import read_key_file, write_key_file
from mmr.crypto.key_formats import BadKeyFile, KeyFormat
from mmr.crypto.keys import SigningKey

_OUTPUT = "./signing.key"

EXIT_STATUS = """
The file is readable by its owner alone. No key is ever shown.

exit status: 0 when the file was written, 1 when it was not, 2 for a mistake on the
command line
"""


class KeyTrouble(Exception):
    """Why no file is written. The text is for people, and holds no key."""


def output_flags(parser: Arguments) -> None:
    """Add the flags that say where keys go, and how."""
    parser.flag(
        "format",
        "format of the file: mmr (default), synapse or dendrite",
        choices=[kind.value for kind in KeyFormat],
        default=KeyFormat.MMR.value,
    )
    parser.flag(
        "output",
        f"the file to write (default: {_OUTPUT})",
        type=Path,
        default=Path(_OUTPUT),
        metavar="FILE",
    )
    parser.switch("overwrite", "replace the file if it is there")
    parser.switch("dryRun", "only say what would be written")


def read_keys(path: Path) -> tuple[SigningKey, ...]:
    """The keys of a file.

    Raises:
        KeyTrouble: it can't be read, or there are none.
    """
    try:
        return read_key_file(path)
    except BadKeyFile as error:
        raise KeyTrouble(f"{path}: not a file of signing keys: {error}") from None
    except OSError as error:
        raise KeyTrouble(f"{path}: can't be read: {error.strerror}") from None


def run(
    parser: Arguments,
    arguments: Sequence[str] | None,
    find_keys: Callable[[Namespace], Sequence[SigningKey]],
) -> int:
    """Parse, get the keys, write them. Gives the exit status."""
    options = parser.parse_args(arguments)
    try:
        _write(options, find_keys(options))
    except KeyTrouble as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


def _write(options: Namespace, keys: Sequence[SigningKey]) -> None:
    path: Path = options.output
    # A homeserver that loses its key can't prove who it is any more.
    if path.exists() and not options.overwrite:
        raise KeyTrouble(
            f"{path} is there already and may be the only copy of a key; choose another"
            " -output, or say -overwrite"
        )
    if not options.dryRun:
        try:
            write_key_file(path, keys, KeyFormat(options.format))
        except OSError as error:
            raise KeyTrouble(f"{path}: can't be written: {error.strerror}") from None
    verb = "would be written" if options.dryRun else "written"
    for key in keys:
        print(f"{key.key_id} {verb} to {path} ({options.format} format)")
