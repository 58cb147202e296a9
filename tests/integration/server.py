"""``twistd mmr`` as a child process, and the requests that a client makes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import yaml

from tests.integration.process import Child, answers, free_port

SERVER_NAME = "one.test"


@attrs.frozen
class Answer:
    """One response, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        value: dict[str, Any] = json.loads(self.body)
        return value


def http_request(
    port: int,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] | None,
    headers: Mapping[str, str],
) -> Answer:
    """Make one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return Answer(response.status, dict(response.headers), response.read())


def merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge deeply; lists are replaced."""
    result = dict(base)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


class Server:
    """One server, its configuration and its data in one folder.

    Args:
        folder: Where everything goes.
        changes: Merged into the configuration.
        environment: Added to the child's environment.
    """

    def __init__(
        self,
        folder: Path,
        changes: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.token = secrets.token_hex(16)
        self.config_path = folder / "mmr.yaml"
        self.media = folder / "media"
        self.child = Child(
            [
                str(Path(sys.executable).with_name("twistd")),
                "--nodaemon",
                "--pidfile=",
                "mmr",
                "-c",
                str(self.config_path),
            ],
            folder / "mmr.log",
            {**os.environ, **(environment or {})},
        )
        self.config = merged(self._defaults(), changes or {})
        self.write_config()

    def _defaults(self) -> dict[str, Any]:
        return {
            "repo": {"port": self.port, "logDirectory": "-"},
            "database": {"sqlite": str(self.folder / "mmr.db")},
            # Nobody listens there: only the token below is known.
            "homeservers": [{"name": SERVER_NAME, "csApi": "http://127.0.0.1:9"}],
            "accessTokens": {
                "maxCacheTimeSeconds": 3600,
                "useLocalAppserviceConfig": True,
                "appservices": [
                    {
                        "id": "tests",
                        "asToken": self.token,
                        "senderUserId": f"@tests:{SERVER_NAME}",
                        "userNamespaces": [{"regex": "@.*:.*"}],
                    }
                ],
            },
            "rateLimit": {"enabled": False},
            # Whoever runs the tests may have a fuller disk than an operator should.
            "uploads": {"minFreeBytes": 0},
            "datastores": [
                {
                    "type": "file",
                    "id": "main",
                    "forKinds": ["all"],
                    "opts": {"path": str(self.media)},
                }
            ],
        }

    def write_config(self, changes: Mapping[str, Any] | None = None) -> None:
        """Write the configuration, with changes that stay."""
        self.config = merged(self.config, changes or {})
        self.config_path.write_text(yaml.safe_dump(self.config))
        self.config_path.chmod(0o600)

    def start(self) -> None:
        """Start and wait until it serves."""
        self.child.start()
        self.child.wait_until(lambda: answers(self.port, "/healthz"))

    def stop(self) -> int | None:
        """Stop kindly."""
        return self.child.stop()

    def reload(self) -> None:
        """Ask for the configuration to be read again."""
        self.child.signal(signal.SIGHUP)

    def run_to_its_end(self, seconds: float = 60) -> tuple[int, str]:
        """Start a server that is expected to refuse; returns status and output."""
        self.child.start()
        try:
            status = self.child.wait(seconds)
        finally:
            self.child.kill()
        return status, self.child.log_text()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        *,
        host: str = SERVER_NAME,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one request; the token defaults to the server's own, "" sends none."""
        token = self.token if token is None else token
        sent = {"Host": host, **(headers or {})}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        return http_request(self.port, method, path, body, sent)

    def upload(
        self, data: bytes, content_type: str = "application/octet-stream", **more: Any
    ) -> str:
        """Upload and return the MXC URI."""
        answer = self.request(
            "POST",
            "/_matrix/media/v3/upload",
            data,
            headers={"Content-Type": content_type},
            **more,
        )
        assert answer.status == 200, answer
        return str(answer.json["content_uri"])

    def download(self, mxc: str, **more: Any) -> Answer:
        """Download over the authenticated endpoint."""
        path = mxc.removeprefix("mxc://")
        return self.request("GET", f"/_matrix/client/v1/media/download/{path}", **more)

    def objects(self) -> set[Path]:
        """Every file below the datastore's folder."""
        return {path for path in self.media.rglob("*") if path.is_file()}
