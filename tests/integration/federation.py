"""What federation between real servers needs: a CA, addresses, published keys."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
from OpenSSL import crypto

from mmr.crypto.keys import SigningKey, encode_base64

from tests.crypto.documents import document
from tests.integration.nginx import Nginx
from tests.integration.process import free_port
from tests.integration.synapse import Synapse
from tests.stub_web import StubCa, test_ca

CA: StubCa = test_ca()
_PEM = crypto.FILETYPE_PEM


@attrs.define
class Address:
    """Where a server is: its name is an address, so that nothing has to resolve it."""

    folder: Path
    port: int = attrs.Factory(free_port)

    @property
    def name(self) -> str:
        """The server name."""
        return f"127.0.0.1:{self.port}"

    def front(self, mmr_port: int | None, homeserver: str) -> Nginx:
        """The nginx that does TLS there. Not started."""
        certificate = self.folder / "certificate.pem"
        pair = CA.issue("127.0.0.1")
        certificate.write_bytes(pair.dumpPEM() + pair.privateKey.dump(_PEM))
        return Nginx(
            self.folder / "nginx",
            self.name,
            mmr_port,
            homeserver,
            port=self.port,
            certificate=certificate,
        )


class KeyPublisher:
    """A homeserver that does nothing but publish its key.

    Args:
        server_name: Whose key it is.
        key: The key.
    """

    def __init__(self, server_name: str, key: SigningKey) -> None:
        valid_until = int(time.time() * 1000) + 24 * 3600 * 1000
        body = json.dumps(document(server_name, key, valid_until=valid_until)).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_known = self.path == "/_matrix/key/v2/server"
                self.send_response(200 if is_known else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def mmr_settings(address: Address, homeserver: str, key_file: Path) -> dict[str, Any]:
    """What an mmr that federates there has in its configuration."""
    ca_file = CA.write(address.folder / "ca.pem")
    return {
        "homeservers": [
            {
                "name": address.name,
                "csApi": homeserver,
                "signingKeyPath": str(key_file),
            }
        ],
        "federation": {
            "exemptNetworks": ["127.0.0.0/8"],
            "caFile": str(ca_file),
            "notaries": [],
        },
    }


def write_key(folder: Path, key: SigningKey) -> Path:
    """A key file as homeservers keep it."""
    path = folder / "signing.key"
    path.write_text(f"ed25519 {key.version} {encode_base64(key.seed)}\n")
    path.chmod(0o600)
    return path


class FederatingSynapse(Synapse):
    """A Synapse that federates with servers of the test CA on loopback.

    Args:
        address: Where others find it.
        with_media: Whether it serves media itself.
    """

    def __init__(self, address: Address, *, with_media: bool) -> None:
        super().__init__(
            address.folder / "synapse", address.name, with_media=with_media
        )
        self._ca_file = CA.write(address.folder / "synapse-ca.pem")

    @property
    def key_file(self) -> Path:
        """Its own signing key."""
        return self.folder / "signing.key"

    def _config(self) -> dict[str, Any]:
        return {
            **super()._config(),
            "federation_custom_ca_list": [str(self._ca_file)],
            "ip_range_blacklist": [],
        }
