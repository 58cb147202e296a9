"""PostgreSQL and Redis for the servers that are measured, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import BenchError
from benchmarks.processes import LOAD_CORES, Child, free_port

_OWNER = "postgres"
_START_TIMEOUT_S = 30


class Postgres:
    """A PostgreSQL of its own, beside the load.

    Args:
        home: An empty folder.
        settings: ``name=value``, for ``postgres -c``.
    """

    def __init__(self, home: Path, settings: Sequence[str] = ()) -> None:
        # PostgreSQL refuses to run as root, and its user has to reach the folder.
        if os.geteuid() == 0:
            shutil.chown(home, _OWNER)
            for folder in home.parents[:2]:
                folder.chmod(folder.stat().st_mode | 0o111)
        self.home = home
        self.port = free_port()
        self._programs = _programs()
        data = str(home / "data")
        command = [str(self._programs / "initdb"), "-D", data, "-U", _OWNER]
        command += ["--auth=trust", "--encoding=UTF8", "--locale=C"]
        made = subprocess.run(
            _as_owner(command), capture_output=True, text=True, cwd=home
        )
        if made.returncode:
            raise BenchError(f"initdb failed: {made.stderr}")
        server = [str(self._programs / "postgres"), "-D", data, "-k", str(home)]
        server += ["-h", "127.0.0.1", "-p", str(self.port)]
        for setting in settings:
            server += ["-c", setting]
        self._child = Child(_as_owner(server), home)
        os.sched_setaffinity(self._child.pid, LOAD_CORES)
        self._wait_until_ready()

    @property
    def url(self) -> str:
        """For ``database.postgres``."""
        return self.address(_OWNER)

    def address(self, database: str) -> str:
        """Likewise, for another database."""
        return f"postgres://{_OWNER}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def psql(self, sql: str, database: str = _OWNER) -> str:
        """Run a statement; gives what it prints, without decoration."""
        command = [str(self._programs / "psql"), "-XqtA", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run(
            [*command, self.address(database), "-c", sql],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise BenchError(f"psql: {done.stderr}")
        return done.stdout.strip()

    def stop(self) -> None:
        """End it."""
        self._child.stop()

    def _wait_until_ready(self) -> None:
        command = [str(self._programs / "pg_isready"), "-q"]
        command += ["-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + _START_TIMEOUT_S
        while subprocess.run(command).returncode:
            self._child.ensure_alive()
            if time.monotonic() > deadline:
                raise BenchError(f"PostgreSQL doesn't start; see {self._child.log}")
            time.sleep(0.1)


class RedisServer:
    """``redis-server`` without persistence, beside the load."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise BenchError("there is no redis-server: apt-get install redis-server")
        self.port = free_port()
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._child = Child([*command, "--save", ""], folder)
        os.sched_setaffinity(self._child.pid, LOAD_CORES)

    @property
    def config(self) -> dict[str, object]:
        """For ``redis``."""
        shard = {"name": "bench", "addr": f"127.0.0.1:{self.port}"}
        return {"enabled": True, "shards": [shard]}

    def kill(self) -> None:
        """End it as a crash would."""
        os.kill(self._child.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End it."""
        self._child.stop()


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
