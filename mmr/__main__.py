"""The ``mmr`` console script: ``twistd --nodaemon --pidfile= mmr``."""

import sys

from twisted.scripts.twistd import run


def main() -> None:
    """Run twistd in the foreground with our plugin and the caller's arguments."""
    sys.argv[1:1] = ["--nodaemon", "--pidfile=", "mmr"]
    run()


if __name__ == "__main__":
    main()
