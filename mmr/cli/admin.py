"""``mmr-admin``: the admin API from a command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from mmr.cli.administration.arguments import parse
from mmr.cli.administration.client import Refused, client_for
from mmr.cli.administration.commands import FAILED, MISTAKE
from mmr.cli.administration.tables import Printer
from mmr.config import config_paths, load_config
from mmr.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = parse(arguments)
    try:
        config = load_config(config_paths(options.config or [], os.environ))
        client = client_for(config, options.url, options.host)
    except ConfigError as error:
        print(f"mmr-admin: {error}", file=sys.stderr)
        return MISTAKE
    try:
        status: int = options.run(client, Printer(), options)
    except Refused as error:
        print(f"mmr-admin: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("mmr-admin: interrupted; the server goes on", file=sys.stderr)
        return FAILED
    return status


if __name__ == "__main__":
    sys.exit(main())
