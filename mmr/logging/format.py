"""The two shapes of a log line: text as Synapse writes it, and JSON."""

from __future__ import annotations

import json
import logging

from mmr.logging.context import SENTINEL
from mmr.logging.redact import cut, one_line, redact

TRACE = 5
_RESET = "\x1b[0m"
_COLORS = {
    TRACE: "\x1b[90m",
    logging.DEBUG: "\x1b[36m",
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}


def message_of(record: logging.LogRecord) -> str:
    """The record's message on one line, its fields cut and its secrets gone."""
    args = record.args
    if isinstance(args, tuple):
        args = tuple(cut(arg) for arg in args)
    elif args:
        args = {key: cut(value) for key, value in args.items()}
    text = str(record.msg)
    return one_line(redact(text % args if args else text))


class TextFormatter(logging.Formatter):
    """``time - logger - line - level - request - message``.

    An event is one line. A traceback follows on lines that begin with a space, so none
    of them can be taken for an event of its own (R73).

    Args:
        colors: Colour the level by its severity.
    """

    def __init__(self, *, colors: bool) -> None:
        super().__init__()
        self._colors = colors

    def format(self, record: logging.LogRecord) -> str:
        """Format the record."""
        level = record.levelname
        if self._colors:
            level = f"{_COLORS.get(record.levelno, '')}{level}{_RESET}"
        line = (
            f"{self.formatTime(record)} - {record.name} - {record.lineno} - {level}"
            f" - {_request(record)} - {message_of(record)}"
        )
        trace = _trace(self, record)
        return "\n".join([line, *(f"    {part}" for part in trace)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line; ``level``, ``msg`` and ``time`` are named as in MMR."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record."""
        event: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "msg": message_of(record),
            "logger": record.name,
            "line": record.lineno,
            "request": _request(record),
        }
        if trace := _trace(self, record):
            event["exception"] = "\n".join(trace)
        return json.dumps(event, ensure_ascii=False)


def _request(record: logging.LogRecord) -> str:
    # Records that were made before our factory was installed have none.
    return getattr(record, "request", SENTINEL)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """The lines of the traceback, if there is one."""
    if not record.exc_info or record.exc_info[0] is None:
        return []
    text = formatter.formatException(record.exc_info)
    return [one_line(redact(line)) for line in text.split("\n")]
