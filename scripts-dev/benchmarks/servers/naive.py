"""A media server that decodes in full and scales with Lanczos: thumbnails unoptimised.

Run as a module (port and folder as arguments) it is that server.
"""

from __future__ import annotations

import io
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

from PIL import Image

from benchmarks.processes import Child
from benchmarks.servers.base import MatrixServer

_SIZE = (320, 240)


def render(source: IO[bytes] | Path) -> bytes:
    """Make a JPEG thumbnail the straightforward way."""
    with Image.open(source) as picture:
        picture.load()
        picture.thumbnail(_SIZE, Image.Resampling.LANCZOS, reducing_gap=None)
        output = io.BytesIO()
        picture.convert("RGB").save(output, "JPEG", quality=80)
    return output.getvalue()


class Naive(MatrixServer):
    """The renderer below as a peer for cold thumbnails."""

    name = "naive"
    health_path = "/healthz"

    def launch(self) -> Child:
        """Start this module as a process."""
        files = self.folder / "files"
        files.mkdir()
        command = [sys.executable, "-m", __name__, str(self.port), str(files)]
        return Child(command, self.folder)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path

    def do_POST(self) -> None:
        count = len(list(self.folder.iterdir()))
        length = int(self.headers["Content-Length"])
        (self.folder / str(count)).write_bytes(self.rfile.read(length))
        self._answer(json.dumps({"content_uri": f"mxc://localhost/{count}"}).encode())

    def do_GET(self) -> None:
        if "/thumbnail/" not in self.path:
            self._answer(b"ok")
            return
        key = Path(self.path.partition("?")[0]).name
        self._answer(render(self.folder / key))

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the log out of the measurement."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until the process is ended."""
    _Handler.folder = Path(sys.argv[2])
    address = ("127.0.0.1", int(sys.argv[1]))
    ThreadingHTTPServer(address, _Handler).serve_forever()


if __name__ == "__main__":
    main()
