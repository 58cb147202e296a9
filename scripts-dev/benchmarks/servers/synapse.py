"""Synapse from PyPI in a virtual environment of its own, one process on SQLite."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks.errors import BenchError
from benchmarks.processes import Child
from benchmarks.servers.base import REPOSITORY, MatrixServer
from benchmarks.wire import Connection, request_head

_ENVIRONMENT = REPOSITORY / ".venv-synapse"
_NO_LIMIT = {"per_second": 100_000, "burst_count": 100_000}
_LIMITS = ("rc_message", "rc_registration", "rc_media_create")


class Synapse(MatrixServer):
    """Synapse with its own media repository and one registered user.

    Args:
        dynamic_thumbnails: Render the asked size on demand. Otherwise Synapse serves
            what it made during the upload, as its default is.
    """

    name = "synapse"
    health_path = "/health"

    def __init__(self, folder: Path, *, dynamic_thumbnails: bool = False) -> None:
        super().__init__(folder)
        self._dynamic_thumbnails = dynamic_thumbnails

    def launch(self) -> Child:
        """Install it when needed, make its keys and start it."""
        python = _ENVIRONMENT / "bin/python"
        if not python.exists():
            _install(python)
        config = self.folder / "homeserver.yaml"
        config.write_text(yaml.safe_dump(self._config()))
        log_config = self.folder / "log.yaml"
        log_config.write_text(yaml.safe_dump(_log_config(self.folder / "synapse.log")))
        command = [str(python), "-m", "synapse.app.homeserver", "-c", str(config)]
        made = subprocess.run(
            [*command, "--generate-keys"],
            capture_output=True,
            text=True,
            cwd=self.folder,
        )
        if made.returncode:
            raise BenchError(f"Synapse could not make its keys:\n{made.stderr}")
        return Child(command, self.folder)

    def sign_in(self) -> None:
        """Register the user whose token the requests carry."""
        wanted = {
            "username": "bench",
            "password": secrets.token_urlsafe(16),
            "auth": {"type": "m.login.dummy"},
        }
        body = json.dumps(wanted).encode()
        connection = Connection(self.port)
        path = "/_matrix/client/v3/register"
        head = request_head("POST", path, self.headers, len(body))
        answer = connection.exchange(head, body)
        connection.close()
        if answer.status != 200:
            raise BenchError(f"Synapse refused to register: {answer.body!r}")
        token = json.loads(answer.body)["access_token"]
        self.headers = {**self.headers, "Authorization": f"Bearer {token}"}

    def database(self) -> dict[str, Any]:
        """The database section of its configuration."""
        return {"name": "sqlite3", "args": {"database": str(self.folder / "db")}}

    def _config(self) -> dict[str, Any]:
        listener = {
            "port": self.port,
            "type": "http",
            "bind_addresses": ["127.0.0.1"],
            "resources": [{"names": ["client", "media"]}],
        }
        return {
            "server_name": "localhost",
            "listeners": [listener],
            "database": self.database(),
            "log_config": str(self.folder / "log.yaml"),
            "pid_file": str(self.folder / "synapse.pid"),
            "signing_key_path": str(self.folder / "signing.key"),
            "media_store_path": str(self.folder / "media"),
            "macaroon_secret_key": secrets.token_urlsafe(32),
            "form_secret": secrets.token_urlsafe(32),
            "report_stats": False,
            "trusted_key_servers": [],
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "url_preview_enabled": False,
            "use_presence": False,
            "max_upload_size": "200M",
            "dynamic_thumbnails": self._dynamic_thumbnails,
            **dict.fromkeys(_LIMITS, _NO_LIMIT),
        }


def _log_config(path: Path) -> dict[str, Any]:
    handler = {
        "class": "logging.FileHandler",
        "filename": str(path),
        "formatter": "line",
    }
    text = "%(asctime)s - %(name)s - %(levelname)s - %(request)s - %(message)s"
    return {
        "version": 1,
        "formatters": {"line": {"format": text}},
        "handlers": {"file": handler},
        "root": {"level": "INFO", "handlers": ["file"]},
        "disable_existing_loggers": False,
    }


def _install(python: Path) -> None:
    print(f"bench: installing Synapse into {_ENVIRONMENT}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", str(_ENVIRONMENT)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    pip += ["matrix-synapse", "psycopg2-binary"]
    if subprocess.run(pip).returncode:
        raise BenchError(f"pip could not install matrix-synapse into {_ENVIRONMENT}")
