"""nginx in front of mmr and a homeserver, with the block that the manual gives."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.integration.process import Child, answers, free_port, listens

_MANUAL = Path(__file__).resolve().parents[2] / "docs"

_CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port}{tls};
        location = /ready {{ return 200; }}
        location / {{
            proxy_pass {homeserver};
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
        {manual}
    }}
}}
"""


_TLS = """ ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate}"""


def manual_block(page: str = "reverse-proxy.md") -> str:
    """The locations that a page of the manual tells an operator to add."""
    text = (_MANUAL / page).read_text()
    block = re.search(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return block[1]


class Nginx:
    """One nginx on loopback.

    Args:
        folder: Where its files go.
        server_name: What mmr is told as host: clients here use an address.
        mmr_port: Where mmr listens; None: the homeserver has media of its own.
        homeserver: The base URL of everything else.
        port: Where to listen.
        certificate: Speaks TLS with it; PEM, the key in the same file.
        first: More locations, before the manual's.
    """

    def __init__(
        self,
        folder: Path,
        server_name: str,
        mmr_port: int | None,
        homeserver: str,
        *,
        port: int | None = None,
        certificate: Path | None = None,
        first: str = "",
    ) -> None:
        self.port = port or free_port()
        manual = ""
        if mmr_port is not None:
            manual = first + manual_block()
            manual = manual.replace("127.0.0.1:8000", f"127.0.0.1:{mmr_port}")
        self._is_tls = certificate is not None
        folder.mkdir()
        config = folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                folder=folder,
                port=self.port,
                tls=_TLS.format(certificate=certificate) if certificate else "",
                homeserver=homeserver,
                manual=manual.replace("$host", server_name),
            )
        )
        program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        assert program is not None, "nginx is not installed (apt-get install nginx)"
        self._child = Child(
            [program, "-e", str(folder / "error.log"), "-c", str(config)],
            folder / "nginx.log",
        )

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it serves."""
        self._child.start()
        self._child.wait_until(self._is_ready)

    def _is_ready(self) -> bool:
        return listens(self.port) if self._is_tls else answers(self.port, "/ready")

    def stop(self) -> None:
        """Stop."""
        self._child.stop()
