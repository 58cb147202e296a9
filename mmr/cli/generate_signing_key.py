"""``mmr-generate-signing-key``: MMR's ``generate_signing_key`` (mmr-tools.md §9.1)."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from mmr.cli.arguments import Arguments
from mmr.cli.key_output import EXIT_STATUS, output_flags, read_keys, run
from mmr.crypto.keys import SigningKey

_EXAMPLES = """\
  mmr-generate-signing-key -output signing.key        a new key
  mmr-generate-signing-key -input homeserver.signing.key -output mmr.key
                                                      Synapse's key in MMR's format
  mmr-generate-signing-key -input mmr.key -format dendrite -output matrix_key.pem

Of a file with several keys the first is used; mmr-combine-signing-keys takes all.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    parser = Arguments(
        "mmr-generate-signing-key",
        "Make a signing key for a homeserver, or convert one.",
        _EXAMPLES + EXIT_STATUS,
    )
    parser.flag(
        "input",
        "a key file to convert, in any of the three formats (default: a new key)",
        type=Path,
        metavar="FILE",
    )
    output_flags(parser)
    return run(parser, arguments, _find_keys)


def _find_keys(options: Namespace) -> list[SigningKey]:
    if options.input is None:
        return [SigningKey.generate()]
    return [read_keys(options.input)[0]]


if __name__ == "__main__":
    sys.exit(main())
