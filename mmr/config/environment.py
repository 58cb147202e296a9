"""What the environment says: ``REPO_CONFIG`` and ``MACHINE_ID``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmr.errors import ConfigError

DEFAULT_PATH = Path("media-repo.yaml")
_MAX_MACHINE_ID = 1023


def config_paths(flag_paths: Sequence[Path], environ: Mapping[str, str]) -> list[Path]:
    """Where the configuration is: ``REPO_CONFIG`` wins over the flags, as in MMR."""
    if path := environ.get("REPO_CONFIG"):
        return [Path(path)]
    return list(flag_paths) or [DEFAULT_PATH]


def machine_id(environ: Mapping[str, str]) -> int:
    """This process's number in its cluster; 0 runs the background tasks.

    Raises:
        ConfigError: when it is no number from 0 to 1023. MMR takes 0 then, so that two
            processes make the same media ids.
    """
    text = environ.get("MACHINE_ID", "").strip() or "0"
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) > _MAX_MACHINE_ID:
        raise ConfigError(
            f"found {text[:20]!r}, expected a whole number, 0 to {_MAX_MACHINE_ID}",
            key="MACHINE_ID",
        )
    return int(text)
