"""Hooks that look at every file before it is kept (docs/plugins.md)."""

from mmr.plugins.base import NOT_SPAM, CheckFailed, FileInfo, FileToCheck, Plugin

__all__ = ["NOT_SPAM", "CheckFailed", "FileInfo", "FileToCheck", "Plugin"]
