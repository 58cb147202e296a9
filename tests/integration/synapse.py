"""A real Synapse on loopback, for tests and for the benchmark.

Imports the standard library alone, so that ``scripts-dev/synapse`` runs anywhere.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import json
import secrets
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from tests.integration.process import Child, answers, free_port

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv-synapse"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = Path(__file__).with_name("synapse-requirements.txt")
_INSTALL_SECONDS = 600


class SynapseUnavailable(Exception):
    """Synapse could not be installed."""


def ensure_venv() -> Path:
    """Make ``.venv-synapse``, or find it made, and return its Python.

    Raises:
        SynapseUnavailable: when pip fails; the text says how.
    """
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = VENV / ".installed"
    with REQUIREMENTS.open() as lock:
        # Several test processes may come here at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.exists() and stamp.read_text() == wanted):
            _run(sys.executable, "-m", "venv", "--clear", str(VENV))
            pip = [str(PYTHON), "-m", "pip", "install", "--quiet"]
            pip.append("--disable-pip-version-check")
            _run(*pip, "--only-binary", ":all:", "--requirement", str(REQUIREMENTS))
            stamp.write_text(wanted)
    return PYTHON


def _run(*arguments: str) -> None:
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
    )
    if done.returncode != 0:
        raise SynapseUnavailable(
            f"`{' '.join(arguments)}` failed: {done.stderr[-2000:]}"
        )


class Synapse:
    """One homeserver, with its files in one folder.

    Args:
        folder: Where configuration, database, keys and log go.
        server_name: The part of user ids behind the colon.
        with_media: Serve media too (the benchmark's peer); otherwise media are
            another server's work.
        postgres: Arguments of psycopg2 (``dbname``, ``host`` …); None means SQLite.
    """

    def __init__(
        self,
        folder: Path,
        server_name: str,
        *,
        with_media: bool = False,
        postgres: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.server_name = server_name
        self.port = free_port()
        self._shared_secret = secrets.token_hex(16)
        self._with_media = with_media
        self._postgres = postgres
        self._child = Child(
            [
                str(PYTHON),
                "-m",
                "synapse.app.homeserver",
                "--config-path",
                str(folder / "homeserver.yaml"),
            ],
            folder / "synapse.log",
        )

    @property
    def url(self) -> str:
        """The base URL of the client-server API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    def start(self) -> None:
        """Write the configuration, start, and wait until it serves."""
        ensure_venv()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_config()
        self._child.start()
        self._child.wait_until(lambda: answers(self.port, "/health"))

    def stop(self) -> None:
        """Stop the process; the files stay."""
        self._child.stop()

    def log_text(self) -> str:
        """The end of its log."""
        return self._child.log_text()

    def register(self, localpart: str, password: str, *, admin: bool = False) -> str:
        """Make a user by the shared registration secret; returns an access token."""
        url = f"{self.url}/_synapse/admin/v1/register"
        nonce = _json_request(url)["nonce"]
        kind = "admin" if admin else "notadmin"
        text = "\0".join([nonce, localpart, password, kind])
        mac = hmac.new(self._shared_secret.encode(), text.encode(), hashlib.sha1)
        body = {
            "nonce": nonce,
            "username": localpart,
            "password": password,
            "admin": admin,
            "mac": mac.hexdigest(),
        }
        return str(_json_request(url, body)["access_token"])

    def _write_config(self) -> None:
        files = {
            "homeserver.yaml": json.dumps(self._config(), indent=2),
            "log.yaml": json.dumps(_LOGGING),
            # The specification's seed format, as Synapse keeps it.
            "signing.key": f"ed25519 a_test {_unpadded(secrets.token_bytes(32))}\n",
        }
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def _config(self) -> dict[str, Any]:
        # JSON is YAML, so that no YAML library is needed to write it.
        names = ["client", "federation", *(["media"] if self._with_media else [])]
        return {
            "server_name": self.server_name,
            "pid_file": str(self.folder / "synapse.pid"),
            "listeners": [
                {
                    "port": self.port,
                    "type": "http",
                    "tls": False,
                    "x_forwarded": True,
                    "bind_addresses": ["127.0.0.1"],
                    "resources": [{"names": names, "compress": False}],
                }
            ],
            "database": self._database(),
            "log_config": str(self.folder / "log.yaml"),
            "enable_media_repo": self._with_media,
            "media_store_path": str(self.folder / "media"),
            "max_upload_size": "200M",
            "signing_key_path": str(self.folder / "signing.key"),
            "registration_shared_secret": self._shared_secret,
            "macaroon_secret_key": secrets.token_hex(16),
            "form_secret": secrets.token_hex(16),
            "trusted_key_servers": [],
            "report_stats": False,
            # Tests are quicker than people.
            "rc_login": {
                which: {"per_second": 1000, "burst_count": 1000}
                for which in ("address", "account", "failed_attempts")
            },
        }

    def _database(self) -> dict[str, Any]:
        if self._postgres is not None:
            return {
                "name": "psycopg2",
                "args": {**self._postgres, "cp_min": 1, "cp_max": 10},
            }
        database = str(self.folder / "homeserver.db")
        return {"name": "sqlite3", "args": {"database": database}}


_LOGGING: dict[str, Any] = {
    "version": 1,
    "formatters": {
        "plain": {"format": "%(asctime)s %(name)s %(levelname)s %(message)s"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
    "disable_existing_loggers": False,
}


def _unpadded(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


def _json_request(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
        return answer
