"""Synapse as it runs in production: on a PostgreSQL of its own, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchError
from benchmarks.processes import LOAD_CORES, Child
from benchmarks.servers.synapse import Synapse

_OWNER = "postgres"
_START_TIMEOUT_S = 30


class SynapsePostgres(Synapse):
    """Synapse beside PostgreSQL on a unix socket.

    The CPU of PostgreSQL itself isn't counted, and it isn't on the core of Synapse.
    """

    name = "synapse-pg"
    _postgres: Child | None = None

    def launch(self) -> Child:
        """Start PostgreSQL first."""
        # PostgreSQL refuses to run as root, and its user has to reach the folder.
        home = self.folder / "postgres"
        home.mkdir()
        if os.geteuid() == 0:
            shutil.chown(home, _OWNER)
            for folder in (self.folder, self.folder.parent):
                folder.chmod(0o711)
        data, programs = str(home / "data"), _programs()
        command = [str(programs / "initdb"), "-D", data, "-U", _OWNER]
        command += ["--auth=trust", "--encoding=UTF8", "--locale=C"]
        made = subprocess.run(
            _as_owner(command), capture_output=True, text=True, cwd=home
        )
        if made.returncode:
            raise BenchError(f"initdb failed: {made.stderr}")
        server = [str(programs / "postgres"), "-D", data, "-k", str(home), "-h", ""]
        self._postgres = Child(_as_owner(server), home)
        os.sched_setaffinity(self._postgres.pid, LOAD_CORES)
        _wait_until_ready(self._postgres, programs, home)
        return super().launch()

    def stop(self) -> None:
        """End Synapse, then PostgreSQL."""
        super().stop()
        if self._postgres is not None:
            self._postgres.stop()
            self._postgres = None

    def database(self) -> dict[str, Any]:
        """Psycopg2 over the unix socket, with Synapse's recommended pool."""
        arguments = {
            "user": _OWNER,
            "dbname": _OWNER,
            "host": str(self.folder / "postgres"),
            "cp_min": 5,
            "cp_max": 10,
        }
        return {"name": "psycopg2", "args": arguments}


def _wait_until_ready(postgres: Child, programs: Path, home: Path) -> None:
    command = [str(programs / "pg_isready"), "-h", str(home), "-q"]
    deadline = time.monotonic() + _START_TIMEOUT_S
    while subprocess.run(command).returncode:
        postgres.ensure_alive()
        if time.monotonic() > deadline:
            raise BenchError(f"PostgreSQL doesn't start; see {postgres.log}")
        time.sleep(0.1)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise BenchError("there is no PostgreSQL server: apt-get install postgresql")
    return found[-1].parent


def _as_owner(command: list[str]) -> list[str]:
    if os.geteuid() != 0:
        return command
    owner = pwd.getpwnam(_OWNER)
    drop = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
    return [shutil.which("setpriv") or "/usr/bin/setpriv", *drop, *command]
