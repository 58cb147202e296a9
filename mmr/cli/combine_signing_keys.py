"""``mmr-combine-signing-keys``: MMR's ``combine_signing_keys`` (mmr-tools.md §9.2)."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from mmr.cli.arguments import Arguments
from mmr.cli.key_output import EXIT_STATUS, KeyTrouble, output_flags, read_keys, run
from mmr.crypto.keys import SigningKey

_EXAMPLES = """\
  mmr-combine-signing-keys -output both.key new.key old.key
  mmr-combine-signing-keys -format synapse -output signing.key one.pem two.pem

The order is kept: the first key of the first file signs. Not every server reads more
than one key of a file.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    parser = Arguments(
        "mmr-combine-signing-keys",
        "Join files of signing keys, in any of the three formats.",
        _EXAMPLES + EXIT_STATUS,
    )
    output_flags(parser)
    parser.add_argument(
        "files",
        help="a file with one key or more",
        nargs="+",
        type=Path,
        metavar="FILE",
    )
    return run(parser, arguments, _find_keys)


def _find_keys(options: Namespace) -> list[SigningKey]:
    """All keys in order.

    Raises:
        KeyTrouble: two have one version; nobody could tell which of them signed.
    """
    keys: list[SigningKey] = []
    sources: dict[str, Path] = {}
    for path in options.files:
        for key in read_keys(path):
            if key.version in sources:
                raise KeyTrouble(
                    f"the key {key.key_id} is in {sources[key.version]} and again in"
                    f" {path}; leave one of them out"
                )
            sources[key.version] = path
            keys.append(key)
    return keys


if __name__ == "__main__":
    sys.exit(main())
