"""Logging as a file describes it, in the way of Synapse's ``log_config``."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mmr.errors import ConfigError
from mmr.logging.redact import redact

_KEY = "repo.logConfig"


class RequestFilter(logging.Filter):
    """For files written for Synapse: every record has a request already."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass."""
        return True


class _Redacting(logging.Formatter):
    """A file's own formatter, without secrets in what it makes (R42)."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return redact(self._inner.format(record))


def configure(path: Path) -> None:
    """Set logging up as the file says. Secrets are still left out of every line.

    Raises:
        ConfigError: the file can't be read or used.
    """
    try:
        described = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _problem(path, str(error)) from error
    if not isinstance(described, dict):
        raise _problem(path, "it holds no mapping; `version: 1` begins one")
    try:
        logging.config.dictConfig(_adapted(described))
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        cause = error.__cause__
        raise _problem(path, f"{error}{f': {cause}' if cause else ''}") from error
    for handler in all_handlers():
        if not isinstance(handler.formatter, _Redacting):
            inner = handler.formatter or logging.Formatter()
            handler.setFormatter(_Redacting(inner))


def _adapted(described: dict[str, Any]) -> dict[str, Any]:
    """The description, with Synapse's own classes replaced by ours."""
    adapted = {"disable_existing_loggers": False, **described}
    filters = adapted.get("filters")
    if isinstance(filters, dict):
        adapted["filters"] = {name: _filter(value) for name, value in filters.items()}
    return adapted


def _filter(value: Any) -> Any:
    name = value.get("()", "") if isinstance(value, dict) else ""
    return {"()": RequestFilter} if str(name).startswith("synapse.") else value


def all_handlers() -> Iterator[logging.Handler]:
    """Every handler of the process."""
    yield from logging.getLogger().handlers
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield from logger.handlers


def _problem(path: Path, what: str) -> ConfigError:
    return ConfigError(what, source=str(path), key=_KEY)
