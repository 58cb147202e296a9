"""A private PostgreSQL cluster for the tests of one process.

`create_database` gives each test an empty database. The cluster is started on first
use and ends with the process, however that ends. What it holds is dropped module by
module: a database is 7 MB, and the suite makes hundreds.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg2
import pytest

_START_SECONDS = 60
_PR_SET_PDEATHSIG = 1
_numbers = itertools.count(1)


def create_database() -> str:
    """An empty database; returns its URL.

    Fails the test when PostgreSQL is not installed, or skips it when
    ``MMR_TEST_WITHOUT_POSTGRES=1`` says so.
    """
    return shared_cluster().create_database()


@functools.lru_cache(maxsize=1)
def shared_cluster() -> PostgresCluster:
    """The cluster of this test process."""
    cluster = PostgresCluster()
    cluster.start()
    return cluster


def remove_shared_cluster() -> None:
    """For the end of the session: at the process' exit xdist waits for 10 seconds."""
    if shared_cluster.cache_info().currsize:
        shared_cluster().remove()
        shared_cluster.cache_clear()


class PostgresCluster:
    """A cluster in a temporary folder, on a loopback port and a socket of its own.

    Args:
        durable: Keep ``fsync`` on. Off, commits are faster than a test needs to wait.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._binaries = _find_binaries()
        account = _server_user()
        # As whom the children run; empty when that is who we are.
        self._identity: dict[str, Any] = {}
        if account is not None:
            self._identity = {
                "user": account.pw_uid,
                "group": account.pw_gid,
                "extra_groups": [],
            }
        self._durable = durable
        self.folder = Path(tempfile.mkdtemp(prefix="mmr-pg-", dir="/tmp"))
        self.port = _free_port()
        self._server: subprocess.Popen[bytes] | None = None
        # And the test module that each was made for.
        self._databases: dict[str, str] = {}
        if account is not None:
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._run_initdb()

    def _run_initdb(self) -> None:
        arguments = ["-A", "trust", "-U", "mmr", "-E", "UTF8", "--locale=C"]
        subprocess.run(
            [self._binaries / "initdb", *arguments, "--no-sync", "-D", self._data],
            check=True,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            **self._identity,
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        fsync = "on" if self._durable else "off"
        options = [f"fsync={fsync}", f"full_page_writes={fsync}", "max_connections=200"]
        options += ["listen_addresses=127.0.0.1", "shared_buffers=32MB"]
        options += ["max_wal_size=64MB"]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [
                    self._binaries / "postgres",
                    *("-D", self._data, "-k", self.folder, "-p", str(self.port)),
                    *(part for option in options for part in ("-c", option)),
                ],
                cwd=self.folder,
                preexec_fn=_die_with_parent,
                stdout=log,
                stderr=log,
                **self._identity,
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg2.connect(self.url("postgres")).close()
            except psycopg2.OperationalError as error:
                if self._server is None or self._server.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()) from error
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Stop at once, as if it crashed: open connections break."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait()
            self._server = None

    def restart(self) -> None:
        """Stop and start again, on the same port."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop and delete everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """The address of a database of this cluster."""
        return f"postgres://mmr@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def create_database(self) -> str:
        """An empty database; returns its URL.

        It lasts as long as the tests of the module.
        """
        name = f"test_{next(_numbers)}"
        module = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0]
        over = [made for made, by in self._databases.items() if by != module]
        connection = psycopg2.connect(self.url("postgres"))
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            for made in over:
                cursor.execute(f"DROP DATABASE {made} WITH (FORCE)")
                del self._databases[made]
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        finally:
            connection.close()
        self._databases[name] = module
        return self.url(name)


def _find_binaries() -> Path:
    candidates = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: float(path.parts[-3]),
        reverse=True,
    )
    if candidates:
        return candidates[0].parent
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    if os.environ.get("MMR_TEST_WITHOUT_POSTGRES") == "1":
        pytest.skip("PostgreSQL is not installed (MMR_TEST_WITHOUT_POSTGRES=1)")
    pytest.fail(
        "PostgreSQL is not installed: no /usr/lib/postgresql/*/bin/postgres and no "
        "`postgres` in PATH. Install the package postgresql, or set "
        "MMR_TEST_WITHOUT_POSTGRES=1 to leave these tests out."
    )


def _server_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: its own user does, else we do."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _die_with_parent() -> None:
    """Linux: when the test process is killed, the kernel stops the server too."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
