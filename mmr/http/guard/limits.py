"""What a guarded request may cost, by its purpose (R15, R16)."""

from __future__ import annotations

import attrs


@attrs.frozen
class Purpose:
    """The limits of one kind of request.

    Attributes:
        name: For log lines.
        max_bytes: The longest body, counted after expansion; None: the reader of the
            response sets the limit.
        connect_seconds: For the connection with TLS, over all addresses that are tried.
        headers_seconds: From the request's last byte to the response's final head.
        idle_seconds: The longest gap within a body.
        slowest_bytes_per_second: The least, averaged over `window_seconds`; only when
            there is no total limit.
        window_seconds: See above.
        total_seconds: One limit over everything: waiting, redirects, all bodies. Media
            have None, so that large files can finish (D37).
        expands: Ask for gzip and deflate, and expand one layer (pages only, R17).
    """

    name: str
    max_bytes: int | None = None
    connect_seconds: float = 10.0
    headers_seconds: float = 30.0
    idle_seconds: float = 30.0
    slowest_bytes_per_second: int = 4096
    window_seconds: float = 60.0
    total_seconds: float | None = None
    expands: bool = False
