"""Sends log lines to stdout and to files, as the ``repo`` section says."""

from __future__ import annotations

import logging
import sys
from contextlib import nullcontext, suppress
from functools import partial
from logging.handlers import TimedRotatingFileHandler
from pathlib import Path
from typing import Protocol

from mmr.errors import ConfigError
from mmr.logging.context import install_record_factory
from mmr.logging.dict_config import all_handlers, configure
from mmr.logging.format import TRACE, JsonFormatter, TextFormatter

ACCESS_LOGGER = "mmr.access.http"

_FILE_NAME = "media_repo.log"
_DAYS_KEPT = 14
_LEVELS = {
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}
# The rotation looks at the clock alone.
_NOTHING = logging.makeLogRecord({})
# At DEBUG they write every byte and header they see, signatures included.
_TALKATIVE = ("boto3", "botocore", "s3transfer", "urllib3", "PIL")


class LogSettings(Protocol):
    """The keys of ``repo`` that are about logs."""

    @property
    def log_directory(self) -> str:
        """A folder; ``-`` or empty for stdout alone."""
        ...

    @property
    def log_level(self) -> str:
        """One of MMR's names, checked already."""
        ...

    @property
    def log_colors(self) -> bool:
        """ANSI colours on stdout; never in files or JSON."""
        ...

    @property
    def json_logs(self) -> bool:
        """One JSON object a line."""
        ...

    @property
    def log_config(self) -> Path | None:
        """A file that describes all of it, in the place of the others."""
        ...


def setup_logging(settings: LogSettings) -> None:
    """Replace the process's log handlers.

    Raises:
        ConfigError: the folder can't be written, or ``log_config`` not be used.
    """
    logging.addLevelName(TRACE, "TRACE")
    install_record_factory()
    if settings.log_config is not None:
        configure(settings.log_config)
    else:
        _set_up(settings)
    for handler in all_handlers():
        handler.handleError = partial(_lose, handler)  # type: ignore[method-assign]
    for name in _TALKATIVE:
        least = max(logging.getLogger().level, logging.INFO)
        logging.getLogger(name).setLevel(least)


def _set_up(settings: LogSettings) -> None:
    level = _LEVELS[settings.log_level]
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if settings.log_directory not in {"", "-"}:
        handlers.append(_file_handler(Path(settings.log_directory)))
    for number, handler in enumerate(handlers):
        colors = settings.log_colors and number == 0
        handler.setFormatter(
            JsonFormatter() if settings.json_logs else TextFormatter(colors=colors)
        )
    _replace_handlers(handlers)
    logging.getLogger().setLevel(level)


def _lose(handler: logging.Handler, record: logging.LogRecord) -> None:
    """Do without a line that could not be written: the disk is full, or nobody reads.

    The library would print a traceback to stderr. That is a log line itself under
    twistd, which would fail as this one did, and so on without end.
    """
    if not isinstance(sys.exc_info()[1], OSError):
        logging.Handler.handleError(handler, record)


def log_lines(text: str) -> None:
    """Log the access log's messages as any others: for ``log_config``."""
    logger = logging.getLogger(ACCESS_LOGGER)
    if logger.isEnabledFor(logging.INFO):
        for line in text.splitlines():
            logger.info("%s", line)


def write_lines(text: str) -> None:
    """Write finished lines, such as the access log's, to where log lines go."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.level <= logging.INFO:
            # What can't be written is lost, see `_lose`.
            with handler.lock or nullcontext(), suppress(OSError):
                if isinstance(handler, TimedRotatingFileHandler):
                    if handler.shouldRollover(_NOTHING):
                        handler.doRollover()
                handler.stream.write(text)
                handler.flush()


def _file_handler(directory: Path) -> logging.Handler:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handler = TimedRotatingFileHandler(
            directory / _FILE_NAME,
            when="midnight",
            backupCount=_DAYS_KEPT,
            encoding="utf-8",
            utc=True,
        )
    except OSError as e:
        raise ConfigError(
            f"can't write log files there ({e.strerror}). Make the folder writable,"
            " name another one, or use '-' for stdout alone.",
            source=str(directory),
            key="repo.logDirectory",
        ) from e
    # As in MMR: traces are for a terminal, not for the disk.
    handler.setLevel(logging.DEBUG)
    return handler


def _replace_handlers(handlers: list[logging.Handler]) -> None:
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
