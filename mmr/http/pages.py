"""HTML pages of ours: no script, nothing from elsewhere, a policy that says so (R2)."""

from __future__ import annotations

import base64
import hashlib

from mmr.http.request import MediaRequest
from mmr.http.responses import Response


class PageResponse(Response):
    """A page, which no cache keeps.

    Args:
        body: HTML.
        style: The text of its only style sheet, as it stands in ``<style>``.
    """

    def __init__(self, body: str, style: str) -> None:
        self._body = body.encode("utf-8", "replace")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'"
        )

    async def send(self, request: MediaRequest) -> None:
        """Write it. Its address may be a secret: it doesn't go with the links."""
        request.replace_policy(self._policy.encode("ascii"))
        lines = (
            b"Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
            b"Referrer-Policy: no-referrer\r\n"
        )
        request.respond(200, lines, self._body)
