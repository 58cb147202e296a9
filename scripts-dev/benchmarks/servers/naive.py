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
from urllib.parse import parse_qs, urlsplit

import pillow_heif
from PIL import Image

from benchmarks.processes import Child
from benchmarks.servers.base import MatrixServer

# As mmr's, so that both write as many bytes.
_QUALITY = 85
_LOSSLESS = ("PNG", "GIF")

pillow_heif.register_heif_opener()


def render(source: IO[bytes] | Path, box: tuple[int, int]) -> bytes:
    """Make a thumbnail the straightforward way: photos as JPEG, the rest as PNG."""
    with Image.open(source) as picture:
        picture.load()
        kind = "PNG" if picture.format in _LOSSLESS else "JPEG"
        picture.thumbnail(box, Image.Resampling.LANCZOS, reducing_gap=None)
        output = io.BytesIO()
        picture.convert("RGB").save(output, kind, quality=_QUALITY)
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
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        box = int(query["width"][0]), int(query["height"][0])
        self._answer(render(self.folder / Path(parts.path).name, box))

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
