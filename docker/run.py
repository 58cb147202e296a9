#!/usr/bin/env python3
"""Start mmr in a container, with matrix-media-repo's environment and volumes.

REPO_CONFIG   file or folder of the configuration; made when it is missing
SERVER_NAME   for a configuration that is made (default: localhost)
MACHINE_ID    number of this process in a cluster
UID, GID      only when started as root: become these, after owning the data

Arguments are passed on to mmr. No shell: the image needs none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from mmr.config.generate import generate_config


def main() -> None:
    """Prepare the volumes, and become mmr."""
    config = Path(os.environ.get("REPO_CONFIG") or "/data/media-repo.yaml")
    media = Path(os.environ.get("MEDIA_PATH") or "/media")
    # Relative paths in the configuration (logs, SQLite) are below the data folder.
    os.chdir(config.parent)
    if not config.exists():
        _make(config, media)
    if os.geteuid() == 0 and os.environ.get("UID"):
        user = int(os.environ["UID"])
        _become(user, int(os.environ.get("GID") or user), config, media)
    os.execvp("mmr", ["mmr", *sys.argv[1:]])  # noqa: S606, S607


def _make(config: Path, media: Path) -> None:
    text = generate_config(
        os.environ.get("SERVER_NAME") or "localhost",
        bind_address="0.0.0.0",  # noqa: S104 - the container's own network
        store_path=str(media),
    )
    descriptor = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    print(f"Made {config}. Set homeservers and restart.", file=sys.stderr)


def _become(user: int, group: int, config: Path, media: Path) -> None:
    for folder in (config.parent, media):
        # Going through millions of files at each start would take hours.
        if folder.is_dir() and _owner(folder) != (user, group):
            _give([folder, *folder.rglob("*")], user, group)
    if config.is_file():
        _give([config], user, group)
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)


def _owner(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_uid, stat.st_gid


def _give(paths: Iterable[Path], user: int, group: int) -> None:
    for path in paths:
        os.chown(path, user, group, follow_symlinks=False)


if __name__ == "__main__":
    main()
