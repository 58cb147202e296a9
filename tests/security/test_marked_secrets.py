"""Marked secrets, sent and configured in all ways, are found nowhere again (R42)."""

from __future__ import annotations

import http.server
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.process import free_port
from tests.integration.server import SERVER_NAME, Server, http_request

MARK = "MARKED"
USER_TOKEN = f"syt_{MARK}_user"
STRANGERS_TOKEN = f"syt_{MARK}_stranger"
APPSERVICE_TOKEN = f"{MARK}_appservice_token_of_some_length"
SHARED_SECRET = f"{MARK}_shared_secret_of_some_length"
SIGNATURE = f"{MARK}c2lnbmF0dXJl"
_SECRETS = (USER_TOKEN, STRANGERS_TOKEN, APPSERVICE_TOKEN, SHARED_SECRET)


class _Homeserver(http.server.BaseHTTPRequestHandler):
    """Knows one token, and repeats any other in its error."""

    def do_GET(self) -> None:
        token = self.headers["Authorization"].removeprefix("Bearer ")
        if token == USER_TOKEN:
            self._answer(200, {"user_id": f"@ann:{SERVER_NAME}"})
        elif "versions" in self.path:
            self._answer(200, {"versions": ["v1.11"]})
        else:
            self._answer(500, {"errcode": f"M_{token}", "error": f"{token} {token}"})

    do_POST = do_GET

    def _answer(self, status: int, body: dict[str, object]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def homeserver() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Homeserver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(tmp_path: Path, homeserver: str) -> Iterator[Server]:
    """A server that logs all it can, to its output and into files."""
    changes = {
        "repo": {"logLevel": "trace", "logDirectory": str(tmp_path / "logs")},
        "homeservers": [{"name": SERVER_NAME, "csApi": homeserver}],
        "sharedSecretAuth": {"enabled": True, "token": SHARED_SECRET},
        "metrics": {"enabled": True, "port": free_port()},
        "urlPreviews": {"enabled": True},
    }
    made = Server(tmp_path, changes)
    [appservice] = made.config["accessTokens"]["appservices"]
    appservice["asToken"] = APPSERVICE_TOKEN
    made.write_config()
    made.start()
    yield made
    made.child.kill()


def ask_with(server: Server, secret: str) -> list[bytes]:
    """Show the secret in every place where a client could; gives the answers."""
    media = f"/_matrix/client/v1/media/download/{SERVER_NAME}/abc?timeout_ms=0"
    upload = "/_matrix/media/v3/upload"
    answers = [
        server.request(method, path + query, body, token=token, headers=headers)
        for method, path, body in (
            ("GET", media, None),
            ("GET", "/_matrix/client/versions?", None),
            ("GET", "/_matrix/media/v3/config?", None),
            ("GET", "/_matrix/media/unstable/admin/tasks/all?", None),
            ("GET", "/_matrix/media/v3/nothing?", None),
            ("POST", f"{upload}?", f"Something from {secret[:4]}".encode()),
            ("POST", "/_matrix/media/v1/create?", b"{}"),
            ("POST", "/_matrix/client/v3/logout?", b"{}"),
        )
        for query, token, headers in (
            ("", secret, {}),
            (f"&access_token={secret}", "", {}),
            (f"&a=b&access%5Ftoken={secret}&c=%zz", "", {}),
            (f"&ACCESS_TOKEN={secret}", "", {}),
            ("", "", {"Authorization": f"bearer {secret}"}),
            ("", "", {"User-Agent": f"Bearer {secret}"}),
            (f"&user_id=@b:{SERVER_NAME}", secret, {}),
            ("&user_id=nobody", secret, {}),
        )
    ]
    return [repr(answer).encode() for answer in answers]


def ask_as_server(server: Server) -> bytes:
    """A signature is worth as much as a token while it lasts."""
    headers = {
        "Authorization": "X-Matrix origin=far.example,key=ed25519:1,"
        f'destination={SERVER_NAME},sig="{SIGNATURE}"'
    }
    path = "/_matrix/federation/v1/media/download/abc"
    return repr(server.request("GET", path, token="", headers=headers)).encode()


def test_marked_secrets_are_found_nowhere(server: Server, tmp_path: Path) -> None:
    """R42: logs, metrics, errors, database, media."""
    seen = {"answers": b"".join(a for s in _SECRETS for a in ask_with(server, s))}
    seen["answers to servers"] = ask_as_server(server)
    port = server.config["metrics"]["port"]
    seen["metrics"] = http_request(port, "GET", "/metrics", None, {}).body
    process = Path(f"/proc/{server.child.pid}")
    seen["arguments"] = (process / "cmdline").read_bytes()
    seen["environment"] = (process / "environ").read_bytes()
    server.stop()
    with sqlite3.connect(tmp_path / "mmr.db") as connection:
        seen["database"] = "\n".join(connection.iterdump()).encode()
    connection.close()
    for path in tmp_path.rglob("*"):
        if path.is_file() and path != server.config_path:
            seen[str(path)] = path.read_bytes()
    assert b"Processed request" in seen[str(tmp_path / "mmr.log")]
    assert b"media_http_requests_total" in seen["metrics"]
    assert b"INSERT INTO" in seen["database"]
    for place, data in seen.items():
        at = data.find(MARK.encode())
        assert at < 0, f"{place}: {data[max(0, at - 300) : at + 60]!r}"
