"""nginx with the same files in a folder: what the machine can do at best."""

from __future__ import annotations

import io
import shutil

from benchmarks.errors import BenchError
from benchmarks.processes import Child
from benchmarks.servers.base import Server
from benchmarks.servers.naive import render

_CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    default_type application/octet-stream;
    client_body_temp_path {folder}/tmp;
    proxy_temp_path {folder}/tmp;
    fastcgi_temp_path {folder}/tmp;
    uwsgi_temp_path {folder}/tmp;
    scgi_temp_path {folder}/tmp;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/files;
        location = /healthz {{ return 200; }}
    }}
}}
"""


class Nginx(Server):
    """One process, no log, no authentication: it does less than a media repository."""

    name = "nginx"
    health_path = "/healthz"

    def launch(self) -> Child:
        """Start nginx with a configuration of its own."""
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if program is None:
            raise BenchError("there is no nginx: apt-get install nginx-light")
        (self.folder / "files").mkdir()
        (self.folder / "tmp").mkdir()
        config = self.folder / "nginx.conf"
        config.write_text(_CONFIG.format(folder=self.folder, port=self.port))
        command = [program, "-p", str(self.folder), "-c", str(config)]
        return Child([*command, "-e", str(self.folder / "error.log")], self.folder)

    def upload(self, body: bytes, content_type: str) -> str:
        """Lay the file, and of a picture the thumbnail, into the folder."""
        files = self.folder / "files"
        key = f"file{len(list(files.iterdir()))}"
        (files / key).write_bytes(body)
        if content_type.startswith("image/"):
            (files / f"{key}.thumbnail").write_bytes(
                render(io.BytesIO(body), (320, 240))
            )
        return key

    def download_path(self, key: str) -> str:
        """The file itself."""
        return f"/{key}"

    def thumbnail_path(self, key: str, size: tuple[int, int] = (320, 240)) -> str:
        """The thumbnail that was made beside it."""
        return f"/{key}.thumbnail"
