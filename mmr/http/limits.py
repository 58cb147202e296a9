"""What a stranger may make the server hold or wait for."""

from __future__ import annotations

import logging
import resource

import attrs

logger = logging.getLogger(__name__)

# Descriptors for everything that isn't a client: log, database, pools, listeners.
_RESERVED_DESCRIPTORS = 100
# A client costs its socket and, while a file is sent, that file.
_DESCRIPTORS_PER_CONNECTION = 2


@attrs.frozen(kw_only=True)
class HttpLimits:
    """The limits of one listener (security-requirements.md §0.2)."""

    head_bytes: int = 16 * 1024
    head_lines: int = 100
    target_bytes: int = 8 * 1024
    discarded_body_bytes: int = 64 * 1024
    """How much unwanted body is read before the connection is closed (R62)."""
    head_seconds: float = 20.0
    """From the first byte of a head to its last (R61)."""
    idle_seconds: float = 60.0
    linger_seconds: float = 2.0
    """How long a refused client has to read why."""
    slow_bytes_per_second: int = 1024
    slow_upload_seconds: float = 30.0
    slow_reader_seconds: float = 60.0
    connections: int = 2000
    connections_per_address: int = 100


def affordable_connections(wanted: int) -> int:
    """How many clients the process has descriptors for, at most ``wanted`` (R69)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    affordable = max(1, (soft - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_PER_CONNECTION)
    if affordable < wanted:
        logger.warning(
            "The limit of %d open files allows %d connections instead of the %d of "
            "repo.maxConnections. Raise it (systemd: LimitNOFILE=) to serve more.",
            soft,
            affordable,
            wanted,
        )
    return min(wanted, affordable)
