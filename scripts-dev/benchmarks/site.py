"""A web site on loopback, for previews of its pages."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.picture import small_picture

_PAGE_BYTES = 200_000
_HEAD = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Page</title>
<meta property="og:title" content="A page of some length">
<meta property="og:description" content="Text and links, as on any news site.">
<meta property="og:image" content="/picture.jpg"></head><body>
"""
_ITEM = b'<div class="item"><a href="/%d">Link</a><p>Some text, &amp; more.</p></div>\n'


def _page() -> bytes:
    count = _PAGE_BYTES // len(_ITEM)
    return _HEAD + b"".join(_ITEM % number for number in range(count)) + b"</body>"


class Site:
    """Serves one page under every path, with a picture."""

    def __init__(self) -> None:
        page, picture = _page(), small_picture()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                is_picture = self.path.endswith(".jpg")
                body = picture if is_picture else page
                kind = "image/jpeg" if is_picture else "text/html; charset=utf-8"
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        """A page of the site."""
        return f"http://127.0.0.1:{self._server.server_port}/{path}"
