"""The headers that every answer carries, whoever made it (R1, R2, D19)."""

from __future__ import annotations

import time
from email.utils import formatdate

MEDIA_POLICY = (
    b"Content-Security-Policy: sandbox; default-src 'none'; script-src 'none'; "
    b"plugin-types application/pdf; style-src 'unsafe-inline'; media-src 'self'; "
    b"object-src 'self';\r\n"
    b"X-Content-Security-Policy: sandbox;\r\n"
)
"""What browsers may do with media. Pages of ours have policies of their own."""
FIXED = (
    b"Server: matrix-media-repo\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Allow-Headers: Origin, X-Requested-With, Content-Type, Accept, "
    b"Authorization\r\n"
    + MEDIA_POLICY
    + b"Cross-Origin-Resource-Policy: cross-origin\r\n"
    b"X-Robots-Tag: noindex, nofollow, noarchive, noimageindex\r\n"
)


class _Block:
    """The fixed headers with the date, made once a second."""

    def __init__(self) -> None:
        self.second = 0
        self.lines = b""

    def __call__(self) -> bytes:
        now = int(time.time())
        if now != self.second:
            self.second = now
            date = formatdate(now, usegmt=True).encode("ascii")
            self.lines = FIXED + b"Date: " + date + b"\r\n"
        return self.lines


fixed_headers = _Block()
