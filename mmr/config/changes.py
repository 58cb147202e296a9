"""What a reload can't apply."""

from __future__ import annotations

from collections.abc import Iterator

from mmr.config._base import Mark, Section, settings_of
from mmr.config.root import Config


def restart_needed(old: Config, new: Config) -> list[str]:
    """The keys whose change takes effect only with a restart."""
    return list(_changed(old, new, ""))


def _changed(old: Section, new: Section, prefix: str) -> Iterator[str]:
    for setting in settings_of(type(old)).values():
        before = getattr(old, setting.attribute)
        after = getattr(new, setting.attribute)
        if Mark.RESTART in setting.marks and before != after:
            yield f"{prefix}{setting.key}"
        elif isinstance(before, Section):
            yield from _changed(before, after, f"{prefix}{setting.key}.")
