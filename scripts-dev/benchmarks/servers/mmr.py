"""Our server, as an operator of a small homeserver would run it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.processes import Child
from benchmarks.servers.base import REPOSITORY, MatrixServer


class Mmr(MatrixServer):
    """`twistd mmr` on SQLite and a folder; a local appservice stands in for users.

    Args:
        profile: Where to leave a cProfile of the reactor thread, if wanted.
        token: The appservice's, where several servers share it.
    """

    name = "mmr"
    health_path = "/healthz"

    def __init__(
        self, folder: Path, profile: Path | None = None, token: str = ""
    ) -> None:
        super().__init__(folder)
        self._profile = profile
        self._token = token or secrets.token_urlsafe(32)
        self.headers = {**self.headers, "Authorization": f"Bearer {self._token}"}

    def launch(self, environment: Mapping[str, str] | None = None) -> Child:
        """Start twistd in the foreground."""
        config = self.folder / "mmr.yaml"
        config.write_text(yaml.safe_dump(self._config()))
        command = [str(REPOSITORY / ".venv/bin/twistd"), "--nodaemon", "--pidfile="]
        if self._profile is not None:
            command += ["--profiler=cprofile", "--savestats"]
            command.append(f"--profile={self._profile}")
        command += ["mmr", "-c", str(config)]
        more = {"PYTHONPATH": str(REPOSITORY), **(environment or {})}
        return Child(command, self.folder, more)

    def _config(self) -> dict[str, Any]:
        store = {
            "type": "file",
            "id": "bench",
            "forKinds": ["all"],
            "opts": {"path": str(self.folder / "media")},
        }
        appservice = {
            "id": "bench",
            "asToken": self._token,
            "senderUserId": "@bench:localhost",
            "userNamespaces": [{"regex": "@bench:localhost"}],
        }
        return {
            "repo": {
                "bindAddress": "127.0.0.1",
                "port": self.port,
                "logDirectory": str(self.folder / "logs"),
            },
            "database": {"sqlite": str(self.folder / "mmr.db")},
            # Nobody listens on port 1: the bench must not need a homeserver.
            "homeservers": [{"name": "localhost", "csApi": "http://127.0.0.1:1"}],
            "accessTokens": {
                "maxCacheTimeSeconds": 43200,
                "useLocalAppserviceConfig": True,
                "appservices": [appservice],
            },
            "datastores": [store],
            "rateLimit": {"enabled": False},
            "urlPreviews": {"exemptNetworks": ["127.0.0.1/32"]},
        }
