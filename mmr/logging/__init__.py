"""Log lines: who wrote them, for which request, and with no secret in them."""

from mmr.logging.context import (
    RequestInfo,
    background,
    current_request,
    enter_request,
)
from mmr.logging.setup import LogSettings, log_lines, setup_logging, write_lines

__all__ = [
    "LogSettings",
    "RequestInfo",
    "background",
    "current_request",
    "enter_request",
    "log_lines",
    "setup_logging",
    "write_lines",
]
