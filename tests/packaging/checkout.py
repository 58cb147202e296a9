"""A copy of the checkout, as a fresh clone would be."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_NOT_SHIPPED = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "build",
    "dist", "site", "mmr-data", "dropin.cache", "_trial_temp*",
)  # fmt: skip


def copy_checkout(target: Path) -> Path:
    """Copy what belongs to the project and return the folder."""
    shutil.copytree(ROOT, target, ignore=_NOT_SHIPPED)
    return target
